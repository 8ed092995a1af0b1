"""Reports of progress as the edge publishes them."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
from hypothesis import strategies as st

from schemas.records import Progress, ProgressKind
from tests.support.samples import NOW_MS, TODAY, number

KINDS: tuple[ProgressKind, ...] = get_args(ProgressKind)


def report(n: int, kind: ProgressKind, position: int = 0, **changes: Any) -> Progress:
    """Of visit n; its question is named by its position."""
    event = Progress(
        visit_id=number(n),
        tenant_id="demo",
        quiz_id="bfi",
        quiz_version=1,
        day=TODAY,
        kind=kind,
        position=position,
        question_id=f"q{position}" if position else "",
        at=NOW_MS,
        accepted_at=NOW_MS,
    )
    return msgspec.structs.replace(event, **changes)


def reports(visits: int) -> st.SearchStrategy[Progress]:
    """Any report of one of so many visits; few values, so that they meet."""
    return st.builds(
        lambda n, kind, position, at, seen, version, name: report(
            n,
            kind,
            position,
            at=NOW_MS + at,
            accepted_at=NOW_MS + seen,
            quiz_version=version,
            question_id=name if position else "",
        ),
        st.integers(1, visits),
        st.sampled_from(KINDS),
        st.integers(0, 3),
        st.integers(0, 4),
        st.integers(0, 4),
        st.integers(1, 2),
        st.sampled_from(["q", "Q", "é", "z"]),
    )
