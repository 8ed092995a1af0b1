"""The capacity model: processes, machines, disks and cost for a load, as a pure function of measurements.

The model is linear. Each completion costs each process a number of microseconds of CPU and a number of bytes,
each message some more; all were measured on one machine (`ops.capacity.measured`). The model adds:

- rounding up to whole processes and machines;
- reserve (`Rules`);
- copies of everything that must survive the loss of a machine.
"""

from __future__ import annotations

import math

import msgspec

from ops.capacity.prices import HOURS_A_MONTH, Prices, Rules

SECONDS_A_DAY = 86_400
SECONDS_A_MONTH = HOURS_A_MONTH * 3600
GB = 1e9
STANDBYS = 1  # databases that follow the first, beyond one machine
DATABASE_CORES_MAX = (
    32  # of one Postgres: more was never measured, and locks that all rows share may be the limit first
)
VOLUME_GB_MAX = 16_000.0  # of one volume, as clouds commonly have them
MATCHING_TIMES_MAX = 2.0  # a match ratio so far from the measured one is another mix of work


class Cost(msgspec.Struct, frozen=True):
    """CPU of one process: microseconds per completion, and additional microseconds per message."""

    completion_us: float
    message_us: float = 0.0


class TopicBytes(msgspec.Struct, frozen=True):
    """Bytes of one completion (or one message) on one broker's disk, and their retention."""

    completion_bytes: float
    message_bytes: float
    retention_s: float


class Storage(msgspec.Struct, frozen=True):
    """Bytes per completion and per message in Postgres: rows with indexes. `source`: the result's name."""

    source: str
    completion_bytes: float
    message_bytes: float
    topics: dict[str, TopicBytes]


class Measured(msgspec.Struct, frozen=True):
    """The model's input. `sources`: the results it comes from, each with machine and commit.

    One edge, worker, sink or sender is one Python process, which uses at most one core. Brokers and database
    use all available cores.
    """

    sources: list[str]
    matching_ratio: float
    edge: Cost
    worker: Cost
    sink: Cost
    sender: Cost
    broker: Cost
    database: Cost
    storage: Storage | None = None


class Demand(msgspec.Struct, frozen=True):
    """The load at the peak. `matching_ratio`: messages per completion."""

    completions_per_s: float
    matching_ratio: float

    @property
    def messages_per_s(self) -> float:
        return self.completions_per_s * self.matching_ratio


class Part(msgspec.Struct, frozen=True):
    """One kind of process. `busy_cores`: used by the work; `cores`: reserved for it."""

    name: str
    processes: int
    busy_cores: float
    cores: int
    why: str


class Disk(msgspec.Struct, frozen=True):
    """GB of all copies of one part. `day_gb`: growth per day; `kept_gb`: size when retention is reached."""

    name: str
    day_gb: float
    kept_gb: float
    why: str


class Bill(msgspec.Struct, frozen=True):
    """USD per month, without the provider's price of messages."""

    machines_usd: float
    disk_usd: float
    zone_traffic_usd: float

    @property
    def total_usd(self) -> float:
        return self.machines_usd + self.disk_usd + self.zone_traffic_usd


class Capacity(msgspec.Struct, frozen=True):
    demand: Demand
    parts: list[Part]
    replicas: int
    partitions: int
    sending_numbers: int
    machines: int
    machine_cores: int
    disks: list[Disk]
    zone_traffic_day_gb: float
    bill: Bill
    total_usd_a_month: float
    cautions: list[str]

    def part(self, name: str) -> Part:
        """Return the part of that name. Raises KeyError."""
        return {part.name: part for part in self.parts}[name]


def plan(measured: Measured, demand: Demand, prices: Prices, rules: Rules) -> Capacity:
    """Return the capacity. Raises ValueError for a demand or a rule that is out of range."""
    _require(demand, rules)
    single = _parts(measured, demand, rules, copies=1)
    one_machine = not rules.replicated and sum(part.cores for part in single) <= rules.machine_cores
    replicas = 1 if one_machine else rules.replicas
    parts = single if one_machine else _parts(measured, demand, rules, copies=replicas)
    machines = math.ceil(sum(part.cores for part in parts) / rules.machine_cores)
    if not one_machine:
        machines = max(machines, replicas)  # two replicas on one machine count as one
    disks, traffic_day_gb = _disks(measured.storage, demand, rules, replicas)
    bill = Bill(
        machines_usd=machines * rules.machine_cores * HOURS_A_MONTH * prices.vcpu_hour_usd,
        disk_usd=sum(disk.kept_gb for disk in disks) * prices.disk_gb_month_usd,
        zone_traffic_usd=traffic_day_gb * SECONDS_A_MONTH / SECONDS_A_DAY * prices.zone_gb_usd,
    )
    workers = next(part.processes for part in parts if part.name == "worker")
    return Capacity(
        demand=demand,
        parts=parts,
        replicas=replicas,
        partitions=partitions(workers, rules),
        sending_numbers=_up(demand.messages_per_s / (rules.number_messages_per_s * rules.number_load_max)),
        machines=machines,
        machine_cores=rules.machine_cores,
        disks=disks,
        zone_traffic_day_gb=traffic_day_gb,
        bill=bill,
        total_usd_a_month=bill.total_usd,
        cautions=_cautions(measured, demand, parts, disks),
    )


def partitions(workers: int, rules: Rules) -> int:
    """Return a multiple of the workers, so that each gets the same number, with reserve for more workers."""
    each = max(rules.partitions_per_worker_min, math.ceil(rules.partitions_min / workers))
    return workers * each


def _require(demand: Demand, rules: Rules) -> None:
    if demand.completions_per_s <= 0 or not 0 <= demand.matching_ratio <= 1:
        raise ValueError("completions must be more than 0, and the match ratio from 0 to 100 %")
    if not 0 < rules.utilisation <= 1 or not 0 < rules.average_ratio <= 1:
        raise ValueError("utilisation and average load must be more than 0 and at most 1")
    if rules.machine_cores < 1 or rules.replicas < 1 or rules.partitions_per_worker_min < 1:
        raise ValueError("cores of a machine, replicas and partitions of a worker must be at least 1")
    if not 0 < rules.number_load_max <= 1 or rules.number_messages_per_s <= 0:
        raise ValueError("the rate of a sender number must be more than 0 and at most its limit")


def _parts(measured: Measured, demand: Demand, rules: Rules, copies: int) -> list[Part]:
    """Return all parts. `copies`: of stored data; with more than one, every kind of process has a spare."""
    spare = copies > 1
    return [
        _processes("edge", measured.edge, demand, rules, spare),
        _processes("worker", measured.worker, demand, rules, spare),
        _processes("sink", measured.sink, demand, rules, spare),
        _processes("sender", measured.sender, demand, rules, spare),
        _brokers(measured.broker, demand, rules, copies),
        _databases(measured.database, demand, rules, spare),
    ]


def _processes(name: str, cost: Cost, demand: Demand, rules: Rules, spare: bool) -> Part:
    busy = _busy_cores(cost, demand)
    needed = max(1, _up(busy / rules.utilisation))
    processes = needed + 1 if spare else needed
    why = f"{_costs(cost)}; a process has one core, {_percent(rules.utilisation)} of it is planned with"
    if spare:
        why += "; one more, because one may fail"
    return Part(name, processes, round(busy, 3), processes, why)


def _brokers(cost: Cost, demand: Demand, rules: Rules, copies: int) -> Part:
    busy = _busy_cores(cost, demand) * copies
    each = max(1, _up(busy / rules.utilisation / copies))
    why = _costs(cost)
    if copies > 1:
        why += f"; times {copies} replicas, each reckoned like the first"
    return Part("broker", copies, round(busy, 3), each * copies, why)


def _databases(cost: Cost, demand: Demand, rules: Rules, spare: bool) -> Part:
    busy = _busy_cores(cost, demand)
    each = max(1, _up(busy / rules.utilisation))
    count = 1 + (STANDBYS if spare else 0)
    why = _costs(cost) + ("; a standby of the same size follows it" if spare else "")
    return Part("database", count, round(busy, 3), each * count, why)


def _busy_cores(cost: Cost, demand: Demand) -> float:
    us_per_s = cost.completion_us * demand.completions_per_s + cost.message_us * demand.messages_per_s
    return us_per_s / 1e6


def _disks(storage: Storage | None, demand: Demand, rules: Rules, replicas: int) -> tuple[list[Disk], float]:
    """Return the disks, and the GB a day that brokers send to their replicas."""
    if storage is None:
        return [], 0.0
    completions_a_day = demand.completions_per_s * rules.average_ratio * SECONDS_A_DAY
    messages_a_day = completions_a_day * demand.matching_ratio
    copies = 1 if replicas == 1 else 1 + STANDBYS
    rows_gb = (storage.completion_bytes * completions_a_day + storage.message_bytes * messages_a_day) / GB
    log_gb = kept_gb = 0.0
    for topic in storage.topics.values():
        day_gb = (topic.completion_bytes * completions_a_day + topic.message_bytes * messages_a_day) / GB
        log_gb += day_gb
        kept_gb += day_gb * topic.retention_s / SECONDS_A_DAY
    return [
        Disk(
            "database",
            round(rows_gb * copies, 3),
            round(rows_gb * copies * rules.database_days, 3),
            f"{storage.completion_bytes:,.0f} bytes a completion, {storage.message_bytes:,.0f} more a "
            f"message, with indexes; {copies} x, kept {rules.database_days:g} days",
        ),
        Disk(
            "broker",
            round(log_gb * replicas, 3),
            round(kept_gb * replicas, 3),
            f"each topic for its retention in topology.yaml, {replicas} x",
        ),
    ], log_gb * (replicas - 1)


def _cautions(measured: Measured, demand: Demand, parts: list[Part], disks: list[Disk]) -> list[str]:
    """Yield warnings where the plan exceeds the measured range or the size of one database."""
    found = []
    times = demand.matching_ratio / measured.matching_ratio if measured.matching_ratio else math.inf
    if demand.matching_ratio and not 1 / MATCHING_TIMES_MAX <= times <= MATCHING_TIMES_MAX:
        found.append(
            f"measured with {_percent(measured.matching_ratio)} matching: measure again with "
            f"`quizstream bench e2e --matching-percent {100 * demand.matching_ratio:.0f}`"
        )
    processes = {part.name: part.processes for part in parts}
    database = next(part for part in parts if part.name == "database")
    each = database.cores // database.processes
    if each > DATABASE_CORES_MAX:
        found.append(f"one Postgres of {each} cores was never measured: distribute tenants over several")
    for disk in disks:
        copies = processes[disk.name]
        if disk.kept_gb / copies > VOLUME_GB_MAX:
            found.append(
                f"{disk.name}: {disk.kept_gb / copies / 1000:,.0f} TB on each of {copies}: more than one "
                "volume, or keep it shorter (--database-days; retention_h in topology.yaml)"
            )
    return found


def _costs(cost: Cost) -> str:
    if not cost.message_us:
        return f"{cost.completion_us:,.0f} us a completion"
    if not cost.completion_us:
        return f"{cost.message_us:,.0f} us a message"
    return f"{cost.completion_us:,.0f} us a completion, {cost.message_us:,.0f} more a message"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:g} %"


def _up(value: float) -> int:
    """Round up, ignoring the last bits of a float."""
    return math.ceil(value - 1e-9)
