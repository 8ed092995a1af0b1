"""A worker's state under anonymous completions, which leave a key each, does not grow for ever."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure.deployment import Broker
from benchmarks.plans import Expiry
from benchmarks.scenarios.expiry import ROUNDS_KEPT, grown
from ops.embedded.stack import ServerUrls

ROUND = 400
ROUNDS = 12


def test_a_workers_keys_stop_growing_when_their_retention_is_over(stack: ServerUrls, tmp_path: Path) -> None:
    """Given some thousand of them over three times the retention, on a real broker and worker.

    `quizstream bench expiry` does the same with two million, and judges folder and changelog, too.
    """
    kafka = Broker(stack.kafka_bootstrap, 0, tmp_path)

    result = grown(kafka, Expiry(records=ROUND, rounds=ROUNDS), lambda _line: None, compacted_timeout_s=0)

    kept = (ROUNDS_KEPT + 1) * ROUND
    assert [each.keys for each in result.rounds_of[:3]] == [ROUND, 2 * ROUND, 3 * ROUND]
    assert kept <= result.keys_max <= kept + ROUND
    assert result.keys_last <= kept + ROUND
    assert result.changelog_keys == result.keys_last  # a rebuild has the tombstones, too
