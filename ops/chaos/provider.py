"""Faults of the provider, as rules of the simulator."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

import msgspec

from ops.chaos.machine.database import BACK_TIMEOUT_S, POLL_S
from ops.simulator.common.rules import Rule

TIMEOUT_S = 5.0
CALLS_HIT_MAX = 20
THROTTLED = 130429
REFUSED = 131057  # the number is in maintenance: not sent, retry
UNCLEAR = 131000  # "something went wrong": sent or not sent


def rules_of(kind: str, size: float) -> list[Rule]:
    """Return the rules of a fault; `size` from 0 to 1 determines the number of calls."""
    count = 1 + int(size * (CALLS_HIT_MAX - 1))
    match kind:
        case "provider.hang":
            return [Rule(do="hang", name=kind, count=max(1, count // 2))]
        case "provider.throttle":
            return [Rule(do="error", name=kind, code=THROTTLED, status=429, count=count)]
        case "provider.error":
            return [Rule(do="error", name=kind, code=UNCLEAR, status=500, count=count)]
        case "provider.refuse":
            return [Rule(do="error", name=kind, code=REFUSED, status=500, count=count)]
        case "provider.taken_then_reset":
            return [Rule(do="reset", name=kind, taken=True, count=count)]
        case "provider.garbage":
            return [Rule(do="garbage", name=kind, status=502, count=count)]
    raise ValueError(f"{kind} is not a fault of the provider")


class Provider:
    """The simulator's control interface.

    Another fault may have ended the simulator: a change waits until it is back. Raises OSError where that
    takes longer than BACK_TIMEOUT_S.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/simulator"

    def add(self, rule: Rule) -> None:
        self._ask("POST", "rules", msgspec.json.encode(rule))

    def clear(self) -> None:
        self._ask("DELETE", "rules")

    def behave(self, **changed: float) -> None:
        self._ask("PATCH", "behaviour", msgspec.json.encode(changed))

    def _ask(self, method: str, path: str, body: bytes | None = None) -> None:
        request = urllib.request.Request(f"{self._url}/{path}", data=body, method=method)
        give_up_s = time.monotonic() + BACK_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                    response.read()
            except urllib.error.HTTPError:
                raise
            except OSError:
                if time.monotonic() >= give_up_s:
                    raise
                time.sleep(POLL_S)
            else:
                return
