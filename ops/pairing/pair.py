"""Pairs a session number with a phone: shows the code, renews it before it expires, ends when connected."""

from __future__ import annotations

import random
from collections.abc import Callable

from pipeline.errors import OperatorError
from pipeline.runtime.backoff import Backoff
from sinks.pairing import Connected, Pairing, PairingCode, PairingFailed, PairingRequest, Standing, Waiting

LOOK_S = 2.0
GIVE_UP_S = 300.0
BACKOFF_BASE_S, BACKOFF_MAX_S = 1.0, 30.0

Ask = Callable[[PairingRequest], tuple[int, bytes] | None]
"""HTTP status and body; None where the provider does not answer."""


class NotPaired(OperatorError):
    """The number is not connected; the message says why."""


def pair(
    pairing: Pairing,
    number_id: str,
    credential: str,
    ask: Ask,
    show: Callable[[PairingCode], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    rng: random.Random,
    give_up_s: float = GIVE_UP_S,
) -> int:
    """Return once the number is connected, with how many codes were shown. Raises NotPaired."""
    backoff = Backoff(BACKOFF_BASE_S, BACKOFF_MAX_S, rng=rng)
    ends_at = clock() + give_up_s
    renew_at = clock()
    last, shown = PairingCode(), 0
    while clock() < ends_at:
        renews = clock() >= renew_at
        request = pairing.connect if renews else pairing.status
        match _standing(pairing, ask(request(number_id, credential))):
            case Connected():
                return shown
            case PairingFailed(detail, again):
                if not again:
                    raise NotPaired(f"number {number_id} is not paired: the provider answered {detail}")
                sleep(min(backoff.after_failure_s(), max(0.0, ends_at - clock())))
                renew_at = clock()
                continue
            case PairingCode() as code if code != last:
                show(code)
                last, shown = code, shown + 1
            case PairingCode() | Waiting():
                pass
        backoff.after_success()
        if renews:
            renew_at = clock() + pairing.renew_s
        sleep(min(LOOK_S, max(0.0, renew_at - clock())))
    raise NotPaired(
        f"number {number_id} is not paired: no phone has scanned its code within {give_up_s:.0f} s"
    )


def _standing(pairing: Pairing, answer: tuple[int, bytes] | None) -> Standing:
    if answer is None:
        return PairingFailed("nothing", again=True)
    return pairing.standing(*answer)
