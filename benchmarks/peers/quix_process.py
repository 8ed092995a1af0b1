"""Quix Streams, as its documentation writes it: one application a step, state in its RocksDB with changelogs.

Runs in the peers' own environment. Processing is at least once, with the framework's own commit interval.
"""

from __future__ import annotations

from typing import Any

from quixstreams import Application, State, message_context  # type: ignore[import-not-found,unused-ignore]
from quixstreams.models import (  # type: ignore[import-not-found,unused-ignore]
    Deserializer,
    SerializationContext,
    Serializer,
)

from benchmarks.load.completions import ten_campaigns
from benchmarks.peers import verdicts
from benchmarks.peers.process import Meter, Work, from_arguments
from schemas.records import Completion, Match


class Completions(Deserializer):  # type: ignore[misc,unused-ignore]
    def __call__(self, value: bytes, ctx: SerializationContext) -> Completion:
        return verdicts.decode_completion(value)


class Matches(Deserializer):  # type: ignore[misc,unused-ignore]
    """The bytes, too: a delivery is its match."""

    def __call__(self, value: bytes, ctx: SerializationContext) -> tuple[Match, bytes]:
        return verdicts.decode_match(value), value


class Outcomes(Serializer):  # type: ignore[misc,unused-ignore]
    def __call__(self, value: verdicts.Judged, ctx: SerializationContext) -> bytes:
        return verdicts.encode_outcome(value.outcome)


class Encoded(Serializer):  # type: ignore[misc,unused-ignore]
    def __call__(self, value: Match, ctx: SerializationContext) -> bytes:
        return verdicts.encode_match(value)


class LoadResult(Serializer):  # type: ignore[misc,unused-ignore]
    """Whether it was the first, which chooses the topic, and the bytes."""

    def __call__(self, value: tuple[bool, bytes], ctx: SerializationContext) -> bytes:
        return value[1]


def qualify(app: Any, work: Work) -> None:
    source = app.topic(work.source, key_deserializer="bytes", value_deserializer=Completions())
    outcomes = app.topic(work.topic("outcomes"), key_serializer="bytes", value_serializer=Outcomes())
    matches = app.topic(work.topic("matches"), key_serializer="bytes", value_serializer=Encoded())
    judge = verdicts.Judge(work.topology.windows, ten_campaigns).judge

    def limit_and_match(completion: Completion, state: State) -> verdicts.Judged:
        context = message_context()
        memory = state.get("allowed", default=[])
        judged = judge(completion, context.partition, context.offset, memory)
        state.set("allowed", memory)
        return judged

    sdf = app.dataframe(source)
    sdf = sdf.apply(limit_and_match, stateful=True)
    sdf = sdf.to_topic(outcomes)
    sdf = sdf.apply(lambda judged: judged.matches, expand=True)
    sdf.to_topic(matches, key=verdicts.key_of)


def dedup(app: Any, work: Work) -> None:
    source = app.topic(work.source, key_deserializer="bytes", value_deserializer=Matches())
    deliveries = app.topic(work.topic("deliveries"), key_serializer="bytes", value_serializer=LoadResult())
    duplicates = app.topic(work.topic("duplicates"), key_serializer="bytes", value_serializer=LoadResult())

    def first_or_not(value: tuple[Match, bytes], state: State) -> tuple[bool, bytes]:
        match, encoded = value
        first = state.get("first")
        if first is None:
            state.set("first", match.completion_id)
        duplicate = verdicts.duplicate_of(match, first)
        return (True, encoded) if duplicate is None else (False, verdicts.encode_duplicate(duplicate))

    def chosen(value: tuple[bool, bytes], key: bytes, timestamp: int, headers: Any) -> Any:
        return deliveries if value[0] else duplicates

    sdf = app.dataframe(source)
    sdf = sdf.apply(first_or_not, stateful=True)
    sdf.to_topic(chosen)


def empty(app: Any, work: Work) -> None:
    app.dataframe(app.topic(work.source, key_deserializer="bytes", value_deserializer="bytes"))


def main() -> None:
    work = from_arguments()
    meter = Meter(work)

    def processed(topic: str, partition: int, offset: int) -> None:
        if meter.count():
            app.stop()

    app = Application(
        broker_address=work.bootstrap,
        consumer_group=work.group,
        auto_offset_reset="earliest",
        state_dir=work.datadir,
        loglevel="WARNING",
        on_message_processed=processed,
    )
    {"empty": empty, "qualify": qualify, "dedup": dedup}[work.way](app, work)
    app.run()  # returns once its last checkpoint is committed and its consumer closed
    meter.end()


if __name__ == "__main__":
    main()
