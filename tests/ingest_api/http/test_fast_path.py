"""The short way to the busiest address leads where the long one does, and nothing else takes it."""

import asyncio
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from ingest_api.http.fast_path import FastPath
from ingest_api.http.lifecycle import Lifecycle

PATH = "/quiz/{quiz_id}/completions"


def went(method: str, path: str, kind: str = "http") -> tuple[str, Any]:
    """Who got it, and with which parts of the path."""
    got: list[tuple[str, Any]] = []

    def called(name: str) -> Any:
        async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
            got.append((name, scope.get("path_params")))

        return app

    lifecycle = Lifecycle(start_wait_s=0)
    fast_path = FastPath(PATH, ["POST", "OPTIONS"], called("endpoint"), called("everything"), lifecycle)
    asyncio.run(fast_path({"type": kind, "method": method, "path": path}, None, None))  # type: ignore[arg-type]
    (one,) = got
    return one


def test_a_slash_at_the_end_changes_nothing() -> None:
    assert went("POST", "/quiz/q/completions/") == ("endpoint", {"quiz_id": "q"})
    assert went("POST", "/") == ("everything", None)


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_a_completion_goes_straight(method: str) -> None:
    assert went(method, "/quiz/quiz são 1/completions") == ("endpoint", {"quiz_id": "quiz são 1"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/quiz/q/completions"),
        ("POST", "/quiz//completions"),
        ("POST", "/quiz/a/b/completions"),
        ("POST", "/x/quiz/q/completions"),
        ("POST", "/api/quiz/q/submit"),
    ],
)
def test_all_else_goes_the_long_way(method: str, path: str) -> None:
    assert went(method, path) == ("everything", None)


def test_what_is_no_request_goes_the_long_way() -> None:
    assert went("POST", "/quiz/q/completions", kind="lifespan") == ("everything", None)
