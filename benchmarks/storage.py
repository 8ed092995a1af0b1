"""What a completion and a message leave on disk: `quizstream bench storage`.

A short load passes through a whole deployment; once nothing moves, sizes are read: of tables with their
indexes from PostgreSQL, of topics from the broker's folder. Many rows, so that half-empty pages do not count.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.e2e import ACTIVATION_MARGIN_S, DRAIN_TIMEOUT_S
from benchmarks.load import Generation, sleep_until
from benchmarks.machine import Machine, commit, machine, now
from benchmarks.parts import Wrong
from benchmarks.scene import Scene, plant
from benchmarks.shapes import close_books
from benchmarks.subject import Tell
from ops.locate import Deployment
from pipeline.topology.model import Topology
from sinks.postgres.connect import connect

PER_TABLE = """
SELECT coalesce(parent.relname, one.relname)::text, sum(pg_total_relation_size(one.oid))::bigint
FROM pg_class one
JOIN pg_namespace space ON space.oid = one.relnamespace
LEFT JOIN pg_inherits kin ON kin.inhrelid = one.oid
LEFT JOIN pg_class parent ON parent.oid = kin.inhparent
WHERE space.nspname = 'public' AND one.relkind = 'r'
GROUP BY 1
"""


class Result(msgspec.Struct, frozen=True):
    """Bytes that were added: by table (with indexes and free space), by role of topic (as it lies)."""

    kind: str
    at: str
    commit: str
    machine: Machine
    completions: int
    messages: int
    table_bytes: dict[str, int]
    topic_bytes: dict[str, int]


def measure(found: Deployment, requests: int, rate_per_s: float, matching_percent: int, tell: Tell) -> Result:
    """On a deployment of its own that runs. Raises Wrong, LoadBroken."""
    described, began = machine(), now()
    scene = Scene.fresh(found, rate_per_s, matching_percent)
    sleep_until(plant(found, scene) / 1000 + ACTIVATION_MARGIN_S)
    tables_before, topics_before = tables(found), topics(found)
    tell(f"load: {requests:,} completions at {rate_per_s:g}/s")
    generation = Generation(found, scene, rate_per_s, requests)
    try:
        answered = generation.end()
    finally:
        generation.abandon()
    if answered.unanswered:
        raise Wrong(f"{answered.unanswered:,} requests were not answered")
    books = close_books(found, (completion_id for _, completion_id in answered.ids()), DRAIN_TIMEOUT_S, tell)
    with connect(found.settings.database_url, "bench storage") as connection:
        connection.execute("CHECKPOINT")
    return Result(
        kind="storage",
        at=began,
        commit=commit(),
        machine=described,
        completions=books.accepted,
        messages=books.messages,
        table_bytes=_grown(tables_before, tables(found)),
        topic_bytes=_grown(topics_before, topics(found)),
    )


def tables(found: Deployment) -> dict[str, int]:
    """Table -> bytes, its partitions and indexes included."""
    with connect(found.settings.database_url, "bench storage") as connection:
        return {str(name): int(str(used)) for name, used in connection.execute(PER_TABLE)}


def topics(found: Deployment) -> dict[str, int]:
    """Role -> bytes of its segments in the home's broker folders."""
    return topic_sizes(found.settings.home, found.topology)


def topic_sizes(home: Path, topology: Topology) -> dict[str, int]:
    """Without the indexes of segments, which are set aside whole and mostly empty."""
    sizes = dict.fromkeys(topology.topics, 0)
    role_of = {topic.name: role for role, topic in topology.topics.items()}
    for segment in home.rglob("*.log"):
        name, _, partition = segment.parent.name.rpartition("-")
        if name in role_of and partition.isdigit():
            sizes[role_of[name]] += segment.stat().st_size
    return sizes


def _grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    grown = {name: used - before.get(name, 0) for name, used in after.items()}
    return {name: used for name, used in sorted(grown.items(), key=lambda each: -each[1]) if used > 0}


def text(r: Result) -> str:
    lines = [f"{r.completions:,} completions, {r.messages:,} messages"]
    for kind, sizes in (("table", r.table_bytes), ("topic", r.topic_bytes)):
        lines += [
            f"  {kind} {name:28} {used / 1e6:9,.1f} MB {used / r.completions:9,.1f} bytes a completion "
            f"{used / max(1, r.messages):9,.1f} a message"
            for name, used in sizes.items()
        ]
    return "\n".join(lines)
