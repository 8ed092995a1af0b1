"""The answer of a rule, for every simulated provider: `success` is its own body of an accepted message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ops.simulator.common.rules import Rule


@dataclass(frozen=True)
class Answer:
    """`body` None: no answer at all. `half`: cut after half of the body. `ending` says what the connection
    does.
    """

    status: int
    body: bytes | None
    ending: str = "keep"  # keep | hang | reset | half
    usage: str | None = None
    retry_after_s: int | None = None


def answer_of(rule: Rule, success: bytes, refused: Callable[[], Answer]) -> Answer:
    match rule.do:
        case "answer":
            return Answer(200, success)
        case "error":
            return refused()
        case "garbage":
            return Answer(rule.status or 200, b"<html>502 Bad Gateway</html>")
        case "raw":
            return Answer(rule.status or 200, rule.body.encode(), retry_after_s=rule.retry_after_s)
        case "half":
            return Answer(200, success, "half")
        case "hang":
            return Answer(0, None, "hang")
        case _:
            return Answer(0, None, "reset")
