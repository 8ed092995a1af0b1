"""Renders a capacity as text, each line with its reason."""

from __future__ import annotations

from ops.capacity.model import Capacity, Measured
from ops.capacity.prices import CURRENT_COMPLETIONS_PER_MIN, CURRENT_USD_A_MONTH, Prices, Rules

NAME, COUNT = 16, 9


def text(capacity: Capacity, measured: Measured, prices: Prices, rules: Rules) -> str:
    """Return the text. Pure."""
    demand, c = capacity.demand, capacity
    lines = [
        f"{demand.completions_per_s * 60:,.0f} completions a minute ({demand.completions_per_s:,.0f}/s), "
        f"{100 * demand.matching_ratio:g} % with a message ({demand.messages_per_s:,.0f}/s)",
        *(f"measured: {source}" for source in measured.sources),
        "",
        _line("what", "how many", "cores", "busy", "why"),
        *(_line(p.name, f"{p.processes:,}", f"{p.cores:,}", f"{p.busy_cores:,.1f}", p.why) for p in c.parts),
        _line(
            "machines",
            f"{c.machines:,}",
            f"{c.machines * c.machine_cores:,}",
            f"{sum(part.busy_cores for part in c.parts):,.1f}",
            f"of {c.machine_cores} cores each"
            + (f"; at least one for each of {c.replicas} replicas" if c.replicas > 1 else ""),
        ),
        "",
        _line(
            "partitions",
            f"{c.partitions:,}",
            why=f"{c.partitions // c.part('worker').processes} for each worker: those of stateful topics "
            "never grow, workers may",
        ),
        _line(
            "sender numbers",
            f"{c.sending_numbers:,}",
            why=f"{rules.number_messages_per_s:g} messages/s each, planned with "
            f"{100 * rules.number_load_max:g} % of it",
        ),
    ]
    if not c.disks:
        lines += ["", "disk: unknown, there is no result of `quizstream bench storage`"]
    for disk in c.disks:
        lines.append(
            _line(
                f"{disk.name} disk", f"{disk.kept_gb:,.0f} GB", why=f"{disk.day_gb:,.1f} GB a day: {disk.why}"
            )
        )
    return "\n".join([*lines, "", *_bill(c, prices, rules), *(f"caution: {said}" for said in c.cautions)])


def _bill(c: Capacity, prices: Prices, rules: Rules) -> list[str]:
    low, high = CURRENT_USD_A_MONTH
    lines = [
        _usd("machines", c.bill.machines_usd, f"{prices.vcpu_hour_usd:g} a core and hour (assumed)"),
        _usd("disk", c.bill.disk_usd, f"{prices.disk_gb_month_usd:g} a GB and month (assumed)"),
        _usd(
            "between zones",
            c.bill.zone_traffic_usd,
            f"replicas, {c.zone_traffic_day_gb:,.0f} GB a day, {prices.zone_gb_usd:g} a GB (assumed)",
        ),
        _usd(
            "a month",
            c.total_usd_a_month,
            f"the design being replaced: {low:,.0f} to {high:,.0f} at {CURRENT_COMPLETIONS_PER_MIN:,.0f} a "
            "minute; the provider's price of a message is in neither",
        ),
    ]
    if c.replicas == 1:
        lines.append(
            "One machine: nothing survives its loss. --replicated shows the cost of copies and spares."
        )
    if c.disks and rules.average_ratio == 1.0:
        lines.append("Disk and traffic assume the peak all day; change that with --average-percent.")
    return lines


def _usd(name: str, usd: float, why: str) -> str:
    return _line(name, f"${usd:,.0f}", why=why)


def _line(name: str, count: str, cores: str = "", busy: str = "", why: str = "") -> str:
    return f"{name:{NAME}} {count:>{COUNT}} {cores:>6} {busy:>7}  {why}".rstrip()
