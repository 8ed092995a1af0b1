"""Cost of a record as the deployment grows: `quizstream bench growth`.

In one process, without servers: `qualify` with 10 to 10,000 campaigns, both stages on RocksDB tables of 1e4
to 5e6 keys, and `dedup` on 1 to 32 partitions. Sizes take turns within each round.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from benchmarks.measure.deployment import Log
from benchmarks.measure.figures import sizes
from benchmarks.measure.machine import Measured, begin
from benchmarks.plans import Growth
from benchmarks.scenarios.growth.campaigns import SHAPES, Judging
from benchmarks.scenarios.growth.rounds import Curve, Subject, curve, interleaved, until_quiet
from benchmarks.scenarios.growth.state import DEDUP, ENTRY_BYTES_MAX, TABLES, Table
from pipeline.errors import CannotStart

BEND_MAX = 1.2  # "flat within 20 %": the dearest size costs at most so many times the cheapest
PARTITIONS = 8
MATCHES_TOLERANCE = 0.25  # of about two a completion


class Filled(msgspec.Struct, frozen=True):
    """Cost of filling a table. `bytes_a_key`: on disk once compactions were over."""

    table: str
    keys: int
    cpu_us_a_key: float
    bytes_a_key: float


class Result(Measured, frozen=True, kw_only=True):
    """`ok`: every judged curve is flat."""

    rounds: int
    bend_max: float
    curves: list[Curve]
    filled: list[Filled]
    ok: bool


def measure(plan: Growth, log: Log) -> Result:
    """A dimension without sizes is left out. Raises CannotStart where the disk has no room for the keys."""
    head = begin("growth")
    campaigns, keys, partitions = sizes(plan.campaigns), sizes(plan.keys), sizes(plan.partitions)
    filled: list[Filled] = []
    curves = _campaigns(campaigns, plan.rounds, log) if campaigns else []
    if keys:
        for table in TABLES:
            tables = {size: (PARTITIONS, size) for size in keys}
            curves.append(_tables(table, "keys", tables, plan.rounds, filled, log))
    if partitions:
        tables = {count: (count, min(keys, default=10_000)) for count in partitions}
        curves.append(_tables(DEDUP, "partitions", tables, plan.rounds, [], log))
    ok = all(found.flat is not False for found in curves)
    return Result(**head, rounds=plan.rounds, bend_max=BEND_MAX, curves=curves, filled=filled, ok=ok)


def _campaigns(counts: Sequence[int], rounds: int, log: Log) -> list[Curve]:
    curves = []
    for shape in SHAPES:
        log(f"campaigns that differ by {shape}: {', '.join(f'{count:,}' for count in counts)}")
        subjects: dict[int, Subject] = {}
        for count in counts:
            judging = Judging(shape, count)
            matches = judging.matches_per_completion()
            if abs(matches - 2) > 2 * MATCHES_TOLERANCE:
                raise AssertionError(f"{matches} matches a completion of {count} campaigns by {shape}")
            subjects[count] = judging
        used_us = interleaved(subjects, rounds, random.Random(1), log=log)
        curves.append(curve(f"judge, campaigns differ by {shape}", "campaigns", used_us, BEND_MAX))
    return curves


def _tables(
    table: Table,
    grows: str,
    tables: Mapping[int, tuple[int, int]],
    rounds: int,
    filled: list[Filled],
    log: Log,
) -> Curve:
    """`tables`: partitions and keys by size. Adds the cost of filling them to `filled`."""
    with _room(sum(keys for _, keys in tables.values())) as folder, ExitStack() as opened:
        subjects: dict[int, Subject] = {}
        for size, (partitions, keys) in tables.items():
            log(f"filling {table.name} with {keys:,} keys in {partitions} partitions")
            place = folder / str(size)
            store = opened.enter_context(table.open(place, partitions))
            began_s = time.process_time()
            table.fill(store, partitions, keys)
            if not until_quiet():
                log(f"{table.name} with {keys:,} keys is still being compacted")
            used_us = 1e6 * (time.process_time() - began_s)
            bytes_ = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
            filled.append(Filled(table.name, keys, round(used_us / keys, 2), round(bytes_ / keys, 1)))
            subjects[size] = table.stage(store, partitions, keys)
        used = interleaved(subjects, rounds, random.Random(2), log=log)
    return curve(f"{table.stage.__name__} with its table", grows, used, BEND_MAX)


@contextmanager
def _room(keys: int) -> Iterator[Path]:
    """A folder for a table of so many keys, removed at the end. Raises CannotStart."""
    wanted, free = 2 * keys * ENTRY_BYTES_MAX, shutil.disk_usage(tempfile.gettempdir()).free
    if free < wanted:
        raise CannotStart(
            f"{tempfile.gettempdir()} has {free / 1e9:.1f} GB free, {wanted / 1e9:.1f} needed: "
            "use fewer --keys, or set TMPDIR."
        )
    with tempfile.TemporaryDirectory(prefix="quizstream-growth-") as folder:
        yield Path(folder)
