from __future__ import annotations

import subprocess
import sys

# Starts and stops over and over; each time the signal comes one instruction later in the main thread's wait.
# A stop that comes by itself soon after lets the run get to the instructions behind the wait, too.
A_SIGNAL_AT_EVERY_INSTRUCTION = """
import faulthandler, signal, sys, threading
from pipeline.stop_request import StopRequest
from sinks.postgres.process import Work, Workers

def reached(chosen):
    passed = 0

    def trace(frame, event, _):
        nonlocal passed
        frame.f_trace_opcodes = True
        if event == "opcode":
            passed += 1
            if passed == chosen:
                signal.raise_signal(signal.SIGTERM)
        return trace

    request = StopRequest()
    request.make_on_signals()
    workers = Workers([Work("idle", lambda stop: stop.wait(), lambda: False)], request)
    workers.start()
    threading.Timer(0.01, request.make).start()
    sys.settrace(trace)
    failures = workers.wait()
    sys.settrace(None)
    assert not failures, failures
    return passed >= chosen

faulthandler.dump_traceback_later(50, exit=True)
chosen = 1
while reached(chosen):
    chosen += 1
print(chosen - 1)
"""


def test_a_signal_at_any_instruction_of_the_wait_ends_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", A_SIGNAL_AT_EVERY_INSTRUCTION], capture_output=True, text=True, timeout=60
    )

    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 10
