"""What the runner promises, on real Kafka and Postgres, by the example of the completions."""

from __future__ import annotations

from sinks.postgres.completions import Completions
from tests.sinks.running import Corner
from tests.sinks.samples import completion, number

STORED = "SELECT completion_id::text FROM completions ORDER BY completion_id"
EVERYTHING = "SELECT * FROM completions ORDER BY completion_id"


def test_completions_reach_their_table(corner: Corner) -> None:
    corner.make_topics("completions", "dead_letters")
    corner.produce("completions", [completion(n) for n in range(20)])

    corner.run_to_end(Completions())

    assert corner.rows(STORED) == [(number(n),) for n in range(20)]
    assert corner.rows("SELECT answers, score FROM completions WHERE completion_id = %s", number(3)) == [
        ({"A1": 3, "A2": "sometimes", "A3": ["x", "y"], "A4": True, "A5": 0.5}, 0.75)
    ]


def test_replay_of_the_whole_topic_changes_no_row(corner: Corner) -> None:
    corner.make_topics("completions", "dead_letters")
    corner.produce("completions", [completion(n) for n in range(20)])
    corner.run_to_end(Completions())
    before = corner.rows(EVERYTHING), corner.rows("SELECT * FROM contacts ORDER BY contact_id")

    corner.rows("DELETE FROM sink_offsets RETURNING 1")
    corner.run_to_end(Completions())

    assert (corner.rows(EVERYTHING), corner.rows("SELECT * FROM contacts ORDER BY contact_id")) == before
