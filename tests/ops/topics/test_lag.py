"""Lag is what a group has not read: in records, and in the age of the first of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from ops.monitoring import lag_metrics
from ops.topics.lag import LagMeter, behind
from tests.support.running_pipeline import until
from tests.support.story import Story


def test_a_reader_is_behind_by_what_came_since_and_by_the_age_of_the_oldest_of_it(story: Story) -> None:
    meter = LagMeter(story.found.settings.kafka_bootstrap_servers, story.found.topology)
    try:
        assert {lag.reader: lag.records for lag in meter.measure()} == dict.fromkeys(
            ["qualify", "dedup", *story.found.topology.sinks], 0
        )
        for number in range(5):
            story.produce("completions", f"somebody {number}".encode(), b"anything")
        lags = {lag.reader: lag for lag in meter.measure()}
        assert (lags["qualify"].records, lags["completions"].records, lags["dedup"].records) == (5, 5, 0)
        assert lags["qualify"].kind == "agent"
        assert lags["completions"].kind == "sink"
        first_s, second_s = lags["qualify"].seconds, {x.reader: x for x in meter.measure()}["qualify"].seconds
        assert first_s is not None
        assert second_s is not None
        assert 0 <= first_s <= second_s
        assert lags["dedup"].seconds == 0
    finally:
        meter.close()


def test_the_lag_is_shown_as_metrics_by_group_and_topic(story: Story) -> None:
    story.produce("completions", b"somebody", b"anything")
    source, group = story.found.topology.topic("completions").name, story.found.topology.stream.group
    end = lag_metrics.follow(story.found)
    try:
        until(lambda: (REGISTRY.get_sample_value(*shown("records", group, source)) or 0) == 1, "one record")
        until(lambda: REGISTRY.get_sample_value(*shown("seconds", group, source)) is not None, "its age")
    finally:
        end()


def shown(unit: str, group: str, topic: str) -> tuple[str, dict[str, str]]:
    return f"quizstream_lag_{unit}", {"group": group, "topic": topic}


Offsets = st.dictionaries(st.integers(0, 7), st.integers(0, 100))


@given(Offsets, Offsets, Offsets)
def test_a_partition_is_behind_by_what_is_still_there_and_was_not_read(
    committed: dict[int, int], begins: dict[int, int], ends: dict[int, int]
) -> None:
    found = behind(committed, begins, ends)
    for partition, end in ends.items():
        unread = [o for o in range(begins.get(partition, 0), end) if o >= committed.get(partition, 0)]
        assert found.get(partition, (None, 0))[1] == len(unread)
        if unread:
            assert found[partition][0] == unread[0]
