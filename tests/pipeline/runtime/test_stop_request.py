from __future__ import annotations

import subprocess
import sys

CREW = """
import faulthandler, os, signal, sys, threading
from pipeline.runtime.stop_request import StopRequest
from sinks.workers import Work, Workers

faulthandler.dump_traceback_later(50, exit=True)

def crew():
    request = StopRequest()
    request.make_on_signals()
    workers = Workers([Work("idle", lambda stop: stop.wait(), lambda: False)], request)
    workers.start()
    return request, workers
"""

# Starts and stops over and over; each time the signal comes one instruction later in the main thread's wait.
# A stop that comes by itself soon after lets the run get to the instructions behind the wait, too.
A_SIGNAL_AT_EVERY_INSTRUCTION = """
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

    request, workers = crew()
    threading.Timer(0.01, request.make).start()
    sys.settrace(trace)
    failures = workers.wait()
    sys.settrace(None)
    assert not failures, failures
    return passed >= chosen

chosen = 1
while reached(chosen):
    chosen += 1
print(chosen - 1)
"""

# The main thread, which alone runs Python's handlers, sleeps on: so it does too when a signal comes in the
# instant before it sleeps. Here another thread takes the signal, which can be had at will.
A_SIGNAL_THAT_DOES_NOT_WAKE = """
_, workers = crew()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
kill = "import os, signal, sys, time; time.sleep(0.5); os.kill(int(sys.argv[1]), signal.SIGTERM)"
os.spawnl(os.P_NOWAIT, sys.executable, sys.executable, "-c", kill, str(os.getpid()))
print(workers.wait())
"""


def run(story: str) -> str:
    ended = subprocess.run([sys.executable, "-c", CREW + story], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_signal_at_any_instruction_of_the_wait_ends_it() -> None:
    assert int(run(A_SIGNAL_AT_EVERY_INSTRUCTION)) > 10


def test_a_signal_that_does_not_wake_the_main_thread_ends_its_wait() -> None:
    assert run(A_SIGNAL_THAT_DOES_NOT_WAKE) == "[]\n"
