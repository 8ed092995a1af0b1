"""SIGTERM under load: each process finishes or hands back what it has, within the supervisor's patience."""

from __future__ import annotations

import time

import pytest

from ops.processes.table import NAMES
from tests.support.drill_people import Drill
from tests.support.running_pipeline import until

pytestmark = [pytest.mark.full, pytest.mark.timeout(900), pytest.mark.xdist_group("drills-stop")]
ANSWERS = 300
RATE_PER_S = 80


@pytest.mark.parametrize("name", NAMES)
def test_a_process_that_is_told_to_stop_under_load_ends_by_itself_and_loses_nothing(
    people: Drill, name: str
) -> None:
    pipeline = people.pipeline
    before = people.settled()
    assert before.calls is not None
    calls = before.calls
    replaying = pipeline.start(
        "replay", str(people.table(ANSWERS)), *people.options(), "--rate", str(RATE_PER_S)
    )
    until(lambda: len(pipeline.calls()) > calls + 20, "messages are being sent")

    began_s = time.monotonic()
    pipeline.supervisor.pause(name)  # SIGTERM, and SIGKILL to what does not end
    took_s = time.monotonic() - began_s
    status = pipeline.supervisor.states()[name].last_exit
    if name == "whatsapp-sender":
        # Its numbers and leases are free for the next one at once; nothing is left in the middle of a call.
        held = "SELECT count(*) FROM deliveries WHERE state IN ('leased', 'calling')"
        assert pipeline.value(held) == 0
        assert pipeline.value("SELECT count(*) FROM sender_numbers WHERE leased_until > now()") == 0
    pipeline.supervisor.resume(name)
    _, errors = replaying.communicate(timeout=180)
    pipeline.all_ready()
    after = people.settled()

    print(f"{name}: ended {took_s:.2f} s after SIGTERM, under load")
    assert status == 0, f"it had to be killed, or failed: {status}"
    assert replaying.returncode == 0, errors
    assert after.deliveries == before.deliveries + ANSWERS
    reasons = pipeline.rows("SELECT state, reason, attempts FROM deliveries WHERE state = 'ambiguous'")
    assert after.ambiguous == before.ambiguous, reasons
