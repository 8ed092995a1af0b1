"""Reads the input of the capacity model from results of `quizstream bench`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from ops.capacity.model import Cost, Measured, Storage, TopicBytes
from pipeline.errors import OperatorError
from pipeline.topology.model import Topology

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
KEPT_UP_RATIO_MIN = 0.97  # of the offered rate: a run that fell behind also measured the cost of queues
SECONDS_AN_HOUR = 3600


class NotMeasured(OperatorError):
    """There is no usable result. The message is one line with the command that creates one."""


class _Machine(msgspec.Struct, frozen=True):
    cpu: str
    cores: int
    load_1m: float


class _Plan(msgspec.Struct, frozen=True):
    seconds: float
    matching_percent: int


class Journey(msgspec.Struct, frozen=True):
    """The part of a `bench e2e` result that the model uses."""

    kind: str
    at: str
    commit: str
    machine: _Machine
    plan: _Plan
    offered_per_s: float
    drained_per_s: float
    calls_per_s: float
    cpu_s: dict[str, float]
    lost: int
    twice: int

    @property
    def good(self) -> bool:
        kept_up = self.drained_per_s >= KEPT_UP_RATIO_MIN * self.offered_per_s
        return self.kind == "e2e" and not self.lost and not self.twice and kept_up


class _Spread(msgspec.Struct, frozen=True):
    median: float


class Sending(msgspec.Struct, frozen=True):
    """The part of a `bench sender` result that the model uses."""

    kind: str
    at: str
    commit: str
    cpu_us_per_message: dict[str, _Spread]


class Stored(msgspec.Struct, frozen=True):
    """The part of a `bench storage` result that the model uses: bytes per row and per record.

    `completions` and `messages`: their numbers when the sizes were read.
    """

    kind: str
    at: str
    commit: str
    completions: int
    messages: int
    table_bytes: dict[str, int]
    topic_bytes: dict[str, int]


Kind = TypeVar("Kind", Journey, Sending, Stored)

COMPLETION_TABLES = frozenset({"completions", "outcomes", "contacts"})
BOUNDED_TABLES = frozenset({"outbox"})  # published rows are deleted and their space is reused
COMPLETION_TOPICS = frozenset({"completions", "outcomes"})


def measured(topology: Topology, result: Path | None = None, folder: Path = RESULTS) -> Measured:
    """Read `result`, or the longest good result of the folder, of equal ones the newest.

    Results beside it provide the remaining figures. Raises NotMeasured.
    """
    journey, source = _journey(result, folder)
    sending = _newest(folder, Sending, "sender")
    stored = _newest(folder, Stored, "storage")
    sources = [f"{_said(source, journey)}, {journey.machine.cpu}, {journey.machine.cores} cores"]
    sources += [
        _said(path, found) for path, found in (sending, stored) if path is not None and found is not None
    ]
    return fed(journey, sending[1], _storage(topology, *stored), sources)


def fed(journey: Journey, sending: Sending | None, storage: Storage | None, sources: list[str]) -> Measured:
    """Return the model's input. Pure.

    - The CPU of `bench e2e` is divided by the processed completions, that of `bench sender` by the calls.
    - A message's share of database and brokers comes from `bench sender`, if there is a result, and is
      subtracted from the share of a completion. The other costs of a match count for completions.
    """
    drained = journey.drained_per_s * journey.plan.seconds
    called = journey.calls_per_s * journey.plan.seconds
    if drained <= 0:
        raise NotMeasured("The result has no processed completion: give another one with --result.")
    messages = called / drained
    of_message = {} if sending is None else {n: s.median for n, s in sending.cpu_us_per_message.items()}

    def cost(process: str) -> Cost:
        whole_us = 1e6 * journey.cpu_s.get(process, 0.0) / drained
        message_us = min(of_message.get(process, 0.0), whole_us / messages) if messages else 0.0
        return Cost(round(whole_us - messages * message_us, 2), round(message_us, 2))

    sender_us = (
        1e6 * journey.cpu_s.get("whatsapp-sender", 0.0) / called
        if called
        else of_message.get("whatsapp-sender", 0.0)
    )
    return Measured(
        sources=sources,
        matching_ratio=round(messages, 4),
        edge=cost("edge"),
        worker=cost("worker"),
        sink=cost("postgres-sink"),
        sender=Cost(0.0, round(sender_us, 2)),
        broker=cost("kafka"),
        database=cost("postgres"),
        storage=storage,
    )


def _storage(topology: Topology, source: Path | None, stored: Stored | None) -> Storage | None:
    if source is None or stored is None:
        return None
    growing = {name: used for name, used in stored.table_bytes.items() if name not in BOUNDED_TABLES}
    of_completion = sum(used for name, used in growing.items() if name in COMPLETION_TABLES)
    of_message = sum(growing.values()) - of_completion
    topics = {}
    for role, used in stored.topic_bytes.items():
        topic = topology.topics.get(role)
        if topic is None or topic.compact:
            continue  # compacted topics grow with contacts and campaigns, not with time
        each = used / (stored.completions if role in COMPLETION_TOPICS else max(1, stored.messages))
        topics[role] = TopicBytes(
            completion_bytes=round(each, 1) if role in COMPLETION_TOPICS else 0.0,
            message_bytes=0.0 if role in COMPLETION_TOPICS else round(each, 1),
            retention_s=float((topic.retention_h or 0) * SECONDS_AN_HOUR),
        )
    return Storage(
        source=source.name,
        completion_bytes=round(of_completion / stored.completions, 1),
        message_bytes=round(of_message / max(1, stored.messages), 1),
        topics=topics,
    )


def _journey(result: Path | None, folder: Path) -> tuple[Journey, Path]:
    if result is not None:
        try:
            return msgspec.json.decode(result.read_bytes(), type=Journey), result
        except (OSError, msgspec.MsgspecError) as error:
            raise NotMeasured(f"{result} is not a result of `bench e2e --json`: {error}") from None
    good = [(found, path) for path, found in _results(folder, Journey, "e2e") if found.good]
    if not good:
        raise NotMeasured(
            f"No good result in {folder}: make one with `quizstream bench e2e --json > RESULT.json`, "
            "and name it with --result."
        )
    return max(good, key=lambda pair: (pair[0].plan.seconds, pair[0].at))


def _newest(folder: Path, kind: type[Kind], name: str) -> tuple[Path | None, Kind | None]:
    found = list(_results(folder, kind, name))
    return max(found, key=lambda pair: pair[1].at) if found else (None, None)


def _results(folder: Path, kind: type[Kind], name: str) -> Iterator[tuple[Path, Kind]]:
    for path in sorted(folder.glob("*.json")):
        try:
            found = msgspec.json.decode(path.read_bytes(), type=kind)
        except (OSError, msgspec.MsgspecError):
            continue  # another kind of result
        if found.kind == name:
            yield path, found


def _said(path: Path, found: Journey | Sending | Stored) -> str:
    return f"{path.name} ({found.at}, commit {found.commit or 'unknown'})"
