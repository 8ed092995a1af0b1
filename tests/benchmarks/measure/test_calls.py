"""The guard of the hot path that needs no clock: calls a completion, at most as many as are written here.

A change that goes over a bound makes every completion slower: make it cheaper, or raise the bound knowingly.
"""

from __future__ import annotations

from tests.support.hot_path import EdgePath, StagePath
from tests.support.python_calls import python_calls

COMPLETIONS = 200
# Some 20 and 25 of them write and read the record, in less time than fastavro's C code: `completion_wire`.
EDGE_CALLS_MAX = 74.0  # a completion, from the body's bytes to the record that is produced
STAGE_CALLS_MAX = 57.0  # a completion, from the record to verdict, match and state


def test_calls_are_counted_exactly() -> None:
    def leaf() -> None:
        return

    def branch() -> int:
        leaf()
        leaf()
        return 0

    assert python_calls(lambda: None) == 0
    assert python_calls(branch) == 2
    assert python_calls(lambda: [branch() for _ in range(5)]) == 1 + 5 * 3  # 3.11 makes the list in a call


def test_the_edge_makes_no_more_calls_a_completion_than_allowed() -> None:
    edge = EdgePath()
    requests = edge.requests(2 * COMPLETIONS)
    edge.pass_through(requests[:COMPLETIONS])  # what is made once is not a completion's cost
    calls = python_calls(lambda: edge.pass_through(requests[COMPLETIONS:]))
    assert calls / COMPLETIONS <= EDGE_CALLS_MAX


def test_the_stage_makes_no_more_calls_a_completion_than_allowed() -> None:
    edge, stage = EdgePath(), StagePath()
    edge.pass_through(edge.requests(2 * COMPLETIONS))
    records = edge.records()
    stage.pass_through(records[:COMPLETIONS])
    calls = python_calls(lambda: stage.pass_through(records[COMPLETIONS:]))
    assert calls / COMPLETIONS <= STAGE_CALLS_MAX
