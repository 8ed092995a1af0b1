"""The rules of budgets that the topology has: windows, and the daily limit of a session number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sinks.delivery.pacing.budget import limit_on

DAY_S = 86_400.0
# A provider counts 24 h from a later moment than the mark, from which this side counts: the call follows
# the mark within seconds, and clocks differ. So people stay in the window a little longer.
WINDOW_MARGIN_S = 60.0
# A window of free replies is over a little earlier here, for the same reason.
SERVICE_WINDOW_S = DAY_S - 600.0
# A delivery that is due for longer has no reservation: what else keeps it from being called may take days.
CLAIM_MAX_S = 600.0


@dataclass(frozen=True)
class BudgetPolicy:
    """`curves`: of each provider whose numbers are sessions, messages a day by day since the first one."""

    curves: Mapping[str, Sequence[int]] = field(default_factory=dict)
    window_s: float = DAY_S + WINDOW_MARGIN_S

    @property
    def sessions(self) -> list[str]:
        """The providers whose numbers have a daily limit of their own."""
        return sorted(self.curves)

    def limit_of(
        self, provider: str, age_s: float, messages_per_day: int | None, people_max: int | None
    ) -> Callable[[int], int] | None:
        """The limit so many windows from now; None where there is none.

        `people_max` is of a portfolio, `messages_per_day` of a session number instead of its curve.
        """
        curve = self.curves.get(provider)
        if curve is None:
            return None if people_max is None else (lambda _cycle: people_max)
        if messages_per_day is not None:
            return lambda _cycle: messages_per_day
        day = int(age_s // DAY_S)
        return lambda cycle: limit_on(day + cycle, curve)


def lower_of(one: int | None, other: int | None) -> int | None:
    """The lower of two limits; None is no limit."""
    given = [limit for limit in (one, other) if limit is not None]
    return min(given) if given else None


PORTFOLIOS_ONLY = BudgetPolicy()
