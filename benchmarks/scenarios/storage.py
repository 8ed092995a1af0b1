"""Bytes on disk of a completion and of a message: `quizstream bench storage`.

A short load passes through a whole deployment; once nothing moves, sizes are read: tables with their indexes
from PostgreSQL, topics from the broker's folder. Many rows, so that half-empty pages do not count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.load.generation import Generation
from benchmarks.load.generator import Constant
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import audit, require_answered
from benchmarks.measure.deployment import Log, whole
from benchmarks.measure.machine import Measured, begin
from benchmarks.plans import Storage
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


class Result(Measured, frozen=True, kw_only=True):
    """Bytes that were added: by table (with indexes and free space), by role of topic (compressed)."""

    completions: int
    messages: int
    table_bytes: dict[str, int]
    topic_bytes: dict[str, int]


def measure(plan: Storage, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("storage")
    with whole(log, plan.port_base) as found:
        return _measure(head, found, plan, log)


def _measure(head: dict[str, Any], found: Deployment, plan: Storage, log: Log) -> Result:
    scene = Scene.fresh(found, plan.rate_per_s, plan.matching_percent)
    plant(found, scene)
    tables_before, topics_before = _tables(found), topic_sizes(found.settings.home, found.topology)
    log(f"load: {plan.records:,} completions at {plan.rate_per_s:g}/s")
    with Generation(found, scene, Constant(plan.rate_per_s, plan.records)) as generation:
        answered = generation.end()
    require_answered(answered)
    report = audit(found, answered.accepted(), log)
    with connect(found.settings.database_url, "bench storage") as connection:
        connection.execute("CHECKPOINT")
    return Result(
        **head,
        completions=report.accepted,
        messages=report.sent,
        table_bytes=_grown(tables_before, _tables(found)),
        topic_bytes=_grown(topics_before, topic_sizes(found.settings.home, found.topology)),
    )


def _tables(found: Deployment) -> dict[str, int]:
    """Table -> bytes, its partitions and indexes included."""
    with connect(found.settings.database_url, "bench storage") as connection:
        return {str(name): int(str(used)) for name, used in connection.execute(PER_TABLE)}


def topic_sizes(home: Path, topology: Topology) -> dict[str, int]:
    """Role -> bytes of its segments in the broker's folders; indexes are preallocated and do not count."""
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
