"""What a load needs is a function of what was measured: it grows with the demand, and nothing is made up."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.capacity.model import GB, Capacity, Cost, Demand, Measured, Storage, TopicBytes, partitions, plan
from ops.capacity.prices import HOURS_A_MONTH, Prices, Rules
from ops.capacity.text import text

DAY_S = 86_400.0
MEASURED = Measured(
    sources=["a result"],
    matching_ratio=0.1,
    edge=Cost(200.0),
    worker=Cost(180.0),
    sink=Cost(90.0, 40.0),
    sender=Cost(0.0, 600.0),
    broker=Cost(120.0, 200.0),
    database=Cost(190.0, 220.0),
    storage=Storage("storage.json", 1_000.0, 2_000.0, {"completions": TopicBytes(500.0, 0.0, 7 * DAY_S)}),
)
RULES = Rules()
rates = st.floats(1.0, 200_000.0)
ratios = st.floats(0.0, 1.0)


def planned(rate: float, ratio: float = 0.1, rules: Rules = RULES) -> Capacity:
    return plan(MEASURED, Demand(rate, ratio), Prices(), rules)


def counts(capacity: Capacity) -> dict[str, float]:
    found: dict[str, float] = {part.name: part.cores for part in capacity.parts}
    found |= {disk.name + " disk": disk.kept_gb for disk in capacity.disks}
    bought = {"numbers": capacity.sending_numbers, "machines": capacity.machines}
    return found | bought | {"usd": capacity.total_usd_a_month}


@given(rates, rates, ratios)
def test_more_completions_never_need_less_of_anything(one: float, other: float, ratio: float) -> None:
    few, many = (counts(planned(rate, ratio)) for rate in sorted((one, other)))
    for name, count in few.items():
        assert many[name] >= count - 1e-6, name


@given(rates, ratios, ratios)
def test_more_messages_never_need_less_of_anything(rate: float, one: float, other: float) -> None:
    few, many = (counts(planned(rate, ratio)) for ratio in sorted((one, other)))
    for name, count in few.items():
        assert many[name] >= count - 1e-6, name


@given(rates, ratios)
def test_twice_the_completions_need_twice_of_everything_up_to_rounding(rate: float, ratio: float) -> None:
    rules = Rules(replicated=True)  # else the second may be the first beyond one machine
    one, two = planned(rate, ratio, rules), planned(2 * rate, ratio, rules)
    for part in one.parts:
        twice = two.part(part.name)
        assert twice.busy_cores == pytest.approx(2 * part.busy_cores, abs=0.002)
        assert twice.cores <= 2 * part.cores
        assert twice.cores >= 2 * part.cores - 2 * max(part.processes, 2)
    assert two.sending_numbers <= 2 * one.sending_numbers <= two.sending_numbers + 1
    for disk, doubled in zip(one.disks, two.disks, strict=True):
        assert doubled.kept_gb == pytest.approx(2 * disk.kept_gb, abs=0.01)


@given(rates, ratios)
def test_no_core_has_more_to_do_than_the_rule_allows(rate: float, ratio: float) -> None:
    for part in planned(rate, ratio).parts:
        assert part.busy_cores <= part.cores * RULES.utilisation + 0.001


@given(rates, ratios)
def test_each_worker_gets_as_many_partitions_and_can_be_joined_by_as_many_again(
    rate: float, ratio: float
) -> None:
    found = planned(rate, ratio)
    workers = found.part("worker").processes
    assert found.partitions % workers == 0
    assert found.partitions >= max(2 * workers, RULES.partitions_min)


def test_a_known_load_needs_what_can_be_reckoned_by_hand() -> None:
    found = planned(10_000.0, 0.1)  # of which 1,000 messages/s

    assert found.part("edge").busy_cores == 2.0
    assert found.part("edge").processes == 5  # 2 / 0.6 = 3.3, and one may fail
    assert found.part("sender").processes == 2
    assert found.part("sender").busy_cores == 0.6
    assert found.part("broker").busy_cores == pytest.approx(3 * (1.2 + 0.2))
    assert found.part("broker").processes == 3
    assert found.part("database").cores == 2 * math.ceil((1.9 + 0.22) / 0.6)
    assert found.sending_numbers == math.ceil(1_000 / (80 * 0.6))
    database, brokers = found.disks
    assert database.day_gb == pytest.approx(2 * DAY_S * (10_000 * 1_000 + 1_000 * 2_000) / GB)
    assert brokers.kept_gb == pytest.approx(3 * 7 * DAY_S * 10_000 * 500 / GB)
    cores = found.machines * found.machine_cores
    assert found.bill.machines_usd == pytest.approx(cores * HOURS_A_MONTH * Prices().vcpu_hour_usd)


def test_what_fits_on_one_machine_has_no_copies_unless_they_are_asked_for() -> None:
    alone, copied = planned(1_667.0), planned(1_667.0, rules=Rules(replicated=True))

    assert (alone.machines, alone.replicas, alone.part("broker").processes) == (1, 1, 1)
    assert (copied.machines, copied.replicas, copied.part("broker").processes) == (3, 3, 3)
    assert all(part.processes >= 2 for part in copied.parts)
    assert "nothing survives its loss" in text(alone, MEASURED, Prices(), RULES)


def test_disk_follows_the_mean_of_a_day_and_cores_its_peak() -> None:
    peak, mean = planned(20_000.0), planned(20_000.0, rules=Rules(average_ratio=0.25))

    assert [part.cores for part in mean.parts] == [part.cores for part in peak.parts]
    assert mean.disks[0].kept_gb == pytest.approx(peak.disks[0].kept_gb / 4, rel=0.001)


def test_what_leaves_the_measured_ground_is_said() -> None:
    assert planned(10_000.0, rules=Rules(database_days=1.0)).cautions == []
    assert "--matching-percent 50" in planned(10_000.0, 0.5, Rules(database_days=1.0)).cautions[0]
    assert any("Postgres of" in said for said in planned(200_000.0).cautions)
    assert any("more than one volume" in said for said in planned(50_000.0).cautions)


def test_without_measured_sizes_disk_is_said_to_be_unknown() -> None:
    found = plan(msgspec.structs.replace(MEASURED, storage=None), Demand(100.0, 0.1), Prices(), RULES)

    assert found.disks == []
    assert "disk: unknown" in text(found, MEASURED, Prices(), RULES)


@pytest.mark.parametrize(
    ("demand", "rules"),
    [
        (Demand(0.0, 0.1), RULES),
        (Demand(1.0, 1.1), RULES),
        (Demand(1.0, 0.1), Rules(utilisation=0.0)),
        (Demand(1.0, 0.1), Rules(number_load_max=0.0)),
    ],
)
def test_what_makes_no_sense_is_refused(demand: Demand, rules: Rules) -> None:
    with pytest.raises(ValueError, match=r"must|at most|more than"):
        plan(MEASURED, demand, Prices(), rules)


def test_partitions_of_few_workers_are_at_least_the_topologys() -> None:
    assert [partitions(workers, Rules(partitions_min=8)) for workers in (1, 2, 3, 5, 20)] == [8, 8, 9, 10, 40]
