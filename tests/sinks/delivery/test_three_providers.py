"""Three providers and twelve numbers under kills and faults of the providers, judged by their own record.

Template messages go by the numbers of the Cloud API, at full pace. Texts go by numbers of WhatsApp Web
sessions, which are new: so many a day, never in a beat, or the provider bans them.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pytest

from schemas.records import Message
from tests.support.provider_cases import case_of
from tests.support.sender_world import Process, World

SEED_VARIABLE = "QUIZSTREAM_TEST_SEED"  # to have a run again
PROVIDERS = ("meta-cloud", "uazapi", "evolution")
NUMBERS_EACH = 4
SENDERS = 3
CLOUD_PER_S = 80  # topology.yaml: sender.messages_per_s
SESSION_PER_MINUTE = 20  # session_messages_per_minute
IN_FLIGHT_MAX = 10  # in_flight_max, of a number
RESETS, ERRORS = 20, 20  # of one number of the Cloud API
GIVE_UP_S = 1800.0  # of a hundred thousand deliveries on a slow machine
TEXTS_EACH = 50  # by far more than a session number may send on its first day
# The topology's own leases: those of the other tests are too short for calls that hang.
LEASES: dict[str, Any] = {"lease_s": 30, "number_lease_s": 6, "call_timeout_s": 10}


def number_of(call: dict[str, Any]) -> str:
    return str(call["number"])


def most_in(times: Iterable[float], window_s: float) -> int:
    """The most of the times that lie in one window, which is open at its beginning."""
    most, window = 0, deque[float]()
    for at in sorted(times):
        window.append(at)
        while window[0] <= at - window_s:
            window.popleft()
        most = max(most, len(window))
    return most


def has_called(world: World, times: int) -> bool:
    return int(world.command("GET", "counts")["calls"]) >= times


def only_waits(states: Mapping[str, int], left: int) -> bool:
    """True where everything has its end but those that have to wait for another day."""
    return set(states) <= {"sent", "ambiguous", "waiting"} and states.get("waiting", 0) == left


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("templates", "kills", "strictness", "first_day"),
    [
        (600, 2, 1.0, 5),
        pytest.param(100_000, 20, 1.0, 20, marks=pytest.mark.full),
        pytest.param(20_000, 8, 2.0, 20, marks=pytest.mark.full),
    ],
)
def test_nobody_gets_two_messages_and_no_number_is_too_fast_or_banned(
    world: World, templates: int, kills: int, strictness: float, first_day: int
) -> None:
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbelow(2**31))
    print(f"{SEED_VARIABLE}={seed}")
    rng = random.Random(seed)
    env: dict[str, str] = {}
    numbers: dict[str, list[str]] = {}
    for place, provider in enumerate(PROVIDERS, start=1):
        case = case_of(provider)
        usual = {"messages_per_s": None, "messages_per_day": None}
        kinds = ["template"] if provider == "meta-cloud" else ["text"]
        numbers[provider] = [
            case.number(world, f"55110000{place:02d}{n:02d}", **usual, kinds=kinds)
            for n in range(NUMBERS_EACH)
        ]
        env |= case.env
    sessions = numbers["uazapi"] + numbers["evolution"]
    texts = TEXTS_EACH * len(sessions)
    world.deliveries(world.campaign(), templates)
    world.deliveries(world.campaign(Message("text", text="oi")), texts)
    world.simulator()
    world.command("PATCH", "behaviour", {"ban_strictness": strictness})
    cloud = numbers["meta-cloud"][0]
    world.rule("reset", taken=True, count=RESETS, skip=templates // 20, number=cloud)
    world.rule("error", code=131000, status=500, count=ERRORS, skip=templates // 10, number=cloud)
    for of in ("uazapi", "evolution"):
        world.rule("reset", taken=True, count=1, skip=1, number=numbers[of][0])

    per_day: dict[str, Any] = {
        "session_messages_per_day": {of: [first_day] for of in ("uazapi", "evolution")}
    }

    def sender() -> Process:
        return world.sender(env=env, **LEASES, **per_day)

    senders = [sender() for _ in range(SENDERS)]
    for number in range(1, kills + 1):
        world.wait_until(partial(has_called, world, templates * number // (kills + 2)), GIVE_UP_S)
        victim = senders.pop(rng.randrange(len(senders)))
        victim.send_signal(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        senders.append(sender())
    left = texts - first_day * len(sessions)
    world.wait_until(lambda: only_waits(world.states(), left), GIVE_UP_S)

    calls = world.calls()
    # By campaign too: each of the two has contacts of its own, of whom a few have the same phone.
    taken = Counter((call["to"], number_of(call) in sessions) for call in calls if call["wamid"] is not None)
    assert set(taken.values()) == {1}
    states = world.states()
    in_flight = kills * IN_FLIGHT_MAX * NUMBERS_EACH * len(PROVIDERS)
    assert states.get("ambiguous", 0) <= RESETS + ERRORS + 2 + in_flight
    assert states["sent"] <= len(taken) <= states["sent"] + states.get("ambiguous", 0)
    at: defaultdict[str, list[float]] = defaultdict(list)
    for call in calls:
        at[number_of(call)].append(float(call["at"]))
    assert set(at) == {one for of in numbers.values() for one in of}, "every number sends"
    assert max(most_in(at[one], 1.0) for one in numbers["meta-cloud"]) <= CLOUD_PER_S
    assert max(most_in(at[one], 60.0) for one in sessions) <= SESSION_PER_MINUTE
    assert max(len(at[one]) for one in sessions) <= first_day
    assert world.command("GET", "counts")["bans"] == {}
    print(dict(Counter(number_of(call) for call in calls)), states)
