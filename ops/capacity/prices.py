"""What the capacity model multiplies with: every price and every rule of thumb, in one place.

None of these was measured. Each is an assumption that an option of `quizstream capacity` replaces.
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
    """USD.

    `vcpu_hour_usd`: one virtual CPU with 4 GiB of memory of a general-purpose cloud machine, on demand; list
    prices of large clouds are 0.04 to 0.05, a commitment of years costs a third to a half less.
    `disk_gb_month_usd`: network block storage on SSD, a GB and month.
    `zone_gb_usd`: a GB from one zone of a region to another, both directions' fees; 0 where all is in one.
    """

    vcpu_hour_usd: float = 0.045
    disk_gb_month_usd: float = 0.08
    zone_gb_usd: float = 0.02


class Rules(msgspec.Struct, frozen=True):
    """How much room is left, and how much is kept.

    `utilisation`: of a core at the peak; what is above it pays for bursts, restarts and catching up.
    `machine_cores`: virtual CPUs of one machine. `average_ratio`: a day's mean load over the planned peak;
    disk and traffic follow the mean, cores the peak. `database_days`: how long rows stay in Postgres.
    `partitions_per_worker_min`: partitions never grow (a contact's state would stay behind), so that there
    can be so many times the workers later. `replicas`: of each record where there is more than one machine,
    or, with `replicated`, always. `number_messages_per_s`: what the provider lets one sending number do.
    `number_load_max`: how much of that is planned with, so that a burst can be caught up with.
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
