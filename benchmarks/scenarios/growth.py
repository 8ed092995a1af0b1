"""Cost of a record as the deployment grows: `quizstream bench growth`.

In one process, without servers: `qualify` with 10 to 10,000 campaigns, both stages on RocksDB tables of 1e4
to 5e6 keys, and `dedup` on 1 to 32 partitions. Sizes take turns within each round.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from benchmarks.measure.deployment import Tell
from benchmarks.measure.machine import Measured, begin
from benchmarks.scenarios import growth_state
from benchmarks.scenarios.growth_campaigns import SHAPES, Judging
from benchmarks.scenarios.growth_rounds import Curve, Subject, curve, interleaved, until_quiet
from benchmarks.scenarios.growth_state import ENTRY_BYTES_MAX
from pipeline.engine.store import BatchStore
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


def measure(
    campaigns: Sequence[int], keys: Sequence[int], partitions: Sequence[int], rounds: int, tell: Tell
) -> Result:
    """A dimension without sizes is left out. Raises CannotStart where the disk has no room for the keys."""
    head = begin("growth")
    curves = [*_campaigns(campaigns, rounds, tell)] if campaigns else []
    filled: list[Filled] = []
    if keys:
        curves += _keys(keys, rounds, filled, tell)
    if partitions:
        curves.append(_partitions(partitions, min(keys, default=10_000), rounds, tell))
    return Result(
        **head,
        rounds=rounds,
        bend_max=BEND_MAX,
        curves=curves,
        filled=filled,
        ok=all(found.flat is not False for found in curves),
    )


def _campaigns(counts: Sequence[int], rounds: int, tell: Tell) -> list[Curve]:
    curves = []
    for shape in SHAPES:
        tell(f"campaigns that differ by {shape}: {', '.join(f'{count:,}' for count in counts)}")
        subjects: dict[int, Subject] = {}
        for count in counts:
            judging = Judging(shape, count)
            matches = judging.matches_per_completion()
            if abs(matches - 2) > 2 * MATCHES_TOLERANCE:
                raise AssertionError(f"{matches} matches a completion of {count} campaigns by {shape}")
            subjects[count] = judging
        used_us = interleaved(subjects, rounds, random.Random(1), tell=tell)
        curves.append(curve(f"judge, campaigns differ by {shape}", "campaigns", used_us, BEND_MAX))
    return curves


def _keys(sizes: Sequence[int], rounds: int, filled: list[Filled], tell: Tell) -> list[Curve]:
    curves = []
    for name, table, stage, entry in (
        ("dedup", growth_state.DELIVERED, growth_state.dedup, growth_state.delivered_entry),
        ("qualify", growth_state.WINDOWS, growth_state.qualify, growth_state.window_entry),
    ):
        with _room(sum(sizes)) as folder, ExitStack() as opened:
            stages: dict[int, Subject] = {}
            for size in sizes:
                store = opened.enter_context(growth_state.table(folder / str(size), table, PARTITIONS))
                filled.append(_fill(store, folder / str(size), PARTITIONS, size, table, entry, tell))
                stages[size] = stage(store, PARTITIONS, size)
            tell(f"{name} on {', '.join(f'{size:,}' for size in sizes)} keys")
            used_us = interleaved(stages, rounds, random.Random(2), tell=tell)
            curves.append(curve(f"{name} with its table", "keys", used_us, BEND_MAX))
    return curves


def _partitions(counts: Sequence[int], keys: int, rounds: int, tell: Tell) -> Curve:
    with _room(keys * len(counts)) as folder, ExitStack() as opened:
        subjects: dict[int, Subject] = {}
        for count in counts:
            store = opened.enter_context(
                growth_state.table(folder / str(count), growth_state.DELIVERED, count)
            )
            entry = growth_state.delivered_entry
            _fill(store, folder / str(count), count, keys, growth_state.DELIVERED, entry, tell)
            subjects[count] = growth_state.dedup(store, count, keys)
        tell(f"dedup on {', '.join(map(str, counts))} partitions of {keys:,} keys together")
        used_us = interleaved(subjects, rounds, random.Random(4), tell=tell)
    return curve("dedup with its table", "partitions", used_us, BEND_MAX)


def _fill(
    store: BatchStore,
    folder: Path,
    partitions: int,
    keys: int,
    table: str,
    entry: Callable[[int], tuple[bytes, bytes]],
    tell: Tell,
) -> Filled:
    tell(f"filling {table} with {keys:,} keys")
    began_s = time.process_time()
    growth_state.fill(store, partitions, keys, entry)
    if not until_quiet():
        tell(f"{table} with {keys:,} keys is still being compacted")
    used_us = 1e6 * (time.process_time() - began_s)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Filled(table, keys, round(used_us / keys, 2), round(size / keys, 1))


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
