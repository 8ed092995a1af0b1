"""Who gets free places for calls: each endpoint that is due in turn, no tenant more than its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple


class Wanted(NamedTuple):
    """`room`: how many calls of the endpoint may begin now."""

    tenant_id: str
    room: int


class Places:
    """In the memory of one process. Who waits longest for a place is the first to get one."""

    def __init__(self, of_tenant_max: int) -> None:
        self._of_tenant_max = of_tenant_max
        self._step = 0
        self._served: dict[str, int] = {}  # the step in which an endpoint got a place

    def deal(
        self, wanted: Mapping[str, Wanted], running_of_tenant: Mapping[str, int], free: int
    ) -> dict[str, int]:
        """Places for each endpoint, one after the other, until none is free or nobody wants one."""
        self._step += 1
        self._served = {endpoint: step for endpoint, step in self._served.items() if endpoint in wanted}
        turn = sorted(wanted, key=lambda endpoint: self._served.get(endpoint, 0))
        dealt: Counter[str] = Counter()
        of_tenant = Counter(running_of_tenant)
        while turn:
            again = []
            for endpoint in turn:
                tenant, room = wanted[endpoint]
                if free == 0:
                    return dict(dealt)
                if dealt[endpoint] < room and of_tenant[tenant] < self._of_tenant_max:
                    dealt[endpoint] += 1
                    of_tenant[tenant] += 1
                    free -= 1
                    self._served[endpoint] = self._step
                    again.append(endpoint)
            turn = again
        return {endpoint: places for endpoint, places in dealt.items() if places}
