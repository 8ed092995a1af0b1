"""`quizstream capacity`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.capacity.prices import Prices, Rules
from ops.exits import OK

PRICES, RULES = Prices(), Rules()


def capacity(
    completions_per_min: Annotated[float, typer.Option(min=1, help="Completions per minute at the peak.")],
    matching_percent: Annotated[
        float, typer.Option(min=0, max=100, help="Percent of completions that lead to a message.")
    ] = 10.0,
    result: Annotated[
        Path | None,
        typer.Option(
            help="A result of `bench e2e --json`; without it the longest good one of benchmarks/results, "
            "of equals the newest."
        ),
    ] = None,
    utilisation: Annotated[
        float, typer.Option(min=1, max=100, help="Planned load of a core at the peak, in percent.")
    ] = 100 * RULES.utilisation,
    machine_cores: Annotated[
        int, typer.Option(min=1, help="Virtual CPUs of one machine.")
    ] = RULES.machine_cores,
    average_percent: Annotated[
        float,
        typer.Option(min=1, max=100, help="A day's mean load, in percent of the peak: for disk and traffic."),
    ] = 100 * RULES.average_ratio,
    database_days: Annotated[
        float, typer.Option(min=0, help="Retention of rows in Postgres, in days.")
    ] = RULES.database_days,
    replicated: Annotated[
        bool,
        typer.Option(
            "--replicated", help="Three replicas, a standby and spares, even if one machine is enough."
        ),
    ] = False,
    price_vcpu_hour: Annotated[
        float, typer.Option(min=0, help="USD of a virtual CPU with 4 GiB, an hour. An assumption.")
    ] = PRICES.vcpu_hour_usd,
    price_disk_gb_month: Annotated[
        float, typer.Option(min=0, help="USD of a GB of SSD, a month. An assumption.")
    ] = PRICES.disk_gb_month_usd,
    price_zone_gb: Annotated[
        float, typer.Option(min=0, help="USD of a GB between zones; 0 in one zone. An assumption.")
    ] = PRICES.zone_gb_usd,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with the measurements it is computed from.")
    ] = False,
) -> None:
    """Compute processes, machines, partitions, sender numbers and cost for a load.

    Computed from measurements: CPU of a completion by process (`bench e2e`), of a message (`bench sender`),
    bytes on disk (`bench storage`). Uses no server. Each line has its reason; docs/capacity.md lists the
    limits of the model.

    Exit codes: 0 computed, 2 no usable measurement.

    Examples:

      quizstream capacity --completions-per-min 100000

      quizstream capacity --completions-per-min 1000000 --average-percent 30 --machine-cores 16

      quizstream capacity --completions-per-min 200000 --result mine.json --json | jq .capacity.bill
    """
    import msgspec

    from ops.capacity.measured import measured
    from ops.capacity.model import Demand, plan
    from ops.capacity.text import text
    from ops.locate import find

    demand = Demand(completions_per_min / 60, matching_percent / 100)
    prices = Prices(price_vcpu_hour, price_disk_gb_month, price_zone_gb)
    topology = find().topology
    rules = Rules(
        utilisation=utilisation / 100,
        machine_cores=machine_cores,
        average_ratio=average_percent / 100,
        database_days=database_days,
        replicated=replicated,
        partitions_min=topology.topic("completions").partitions,
        number_messages_per_s=topology.sender.messages_per_s,
    )
    fed = measured(topology, result)
    found = plan(fed, demand, prices, rules)
    if json:
        told = {"measured": fed, "prices": prices, "rules": rules, "capacity": found}
        print(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        print(text(found, fed, prices, rules))
    raise typer.Exit(OK)
