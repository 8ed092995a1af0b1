"""Prices and rules of the capacity model, in one place.

None of them was measured. Each is an assumption that an option of `quizstream capacity` replaces.
"""

from __future__ import annotations

import msgspec

HOURS_A_MONTH = 730.0
CURRENT_USD_A_MONTH = (
    14_000.0,
    29_000.0,
)  # what the design being replaced costs its owner, at 100,000 a minute
CURRENT_COMPLETIONS_PER_MIN = 100_000.0


class Prices(msgspec.Struct, frozen=True):
    """Prices in USD.

    - `vcpu_hour_usd`: one virtual CPU with 4 GiB of memory of a general-purpose cloud machine, on demand.
      List prices of large clouds are 0.04 to 0.05; a commitment of years costs a third to a half less.
    - `disk_gb_month_usd`: network block storage on SSD, per GB and month.
    - `zone_gb_usd`: a GB from one zone of a region to another, fees of both directions; 0 in a single zone.
    """

    vcpu_hour_usd: float = 0.045
    disk_gb_month_usd: float = 0.08
    zone_gb_usd: float = 0.02


class Rules(msgspec.Struct, frozen=True):
    """Reserve and retention.

    - `utilisation`: planned load of a core at the peak; the rest is for bursts, restarts and catching up.
    - `machine_cores`: virtual CPUs of one machine.
    - `average_ratio`: mean load of a day over the planned peak; disk and traffic follow the mean, cores the
      peak.
    - `database_days`: retention of rows in Postgres.
    - `partitions_per_worker_min`: partitions of stateful topics never grow, so this limits the growth of
      workers.
    - `replicas`: of each record with more than one machine, or, with `replicated`, always.
    - `number_messages_per_s`: the provider's limit of one sender number.
    - `number_load_max`: the planned share of that limit; the rest is for catching up after a burst.
    """

    utilisation: float = 0.6
    machine_cores: int = 8
    average_ratio: float = 1.0
    database_days: float = 30.0
    partitions_min: int = 8
    partitions_per_worker_min: int = 2
    replicas: int = 3
    replicated: bool = False
    number_messages_per_s: float = 80.0
    number_load_max: float = 0.6
