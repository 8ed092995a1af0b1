"""The rate limits of the edge that a tenant may have of its own, and their bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

TENANT_DAY = "tenant_day"
DAY_S = 86_400
LIMIT_MAX = 1_000_000_000
ABOUT: Mapping[str, str] = {
    "address": "completions of one address at the tenant's quizzes",
    "quiz_pages": "requests of one address for pages of the tenant's quizzes",
    "token": "completions with one token of the tenant",
    "quiz": "completions of one of its quizzes",
    "tenant": "all completions of the tenant",
    TENANT_DAY: "all accepted completions of the tenant in any 24 h; without it there is no such limit",
}


def problems(limits: Mapping[str, int]) -> Iterator[str]:
    """Yield why the limits cannot be saved, a line each."""
    for name, limit in limits.items():
        if name not in ABOUT:
            yield f'there is no limit "{name}": one of {", ".join(ABOUT)}'
        elif not 1 <= limit <= LIMIT_MAX:
            yield f"the limit {name} must lie between 1 and {LIMIT_MAX}"
