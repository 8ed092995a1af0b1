"""`python -m ops.embedded [--home DIR] [--port-base N]`: the servers in the foreground, for development.

Prints the three addresses as `export` lines on stdout, what happens on stderr; runs until SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from pathlib import Path

from ops.embedded.home import Home
from ops.embedded.stack import EmbeddedStack
from pipeline.errors import CannotStart
from pipeline.runtime.ports import Ports
from pipeline.runtime.settings import BROKERS_CHOICES

SIGNAL_SEEN_WITHIN_S = 1.0  # one that comes in the instant before a sleep does not end it


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.embedded", description=__doc__)
    parser.add_argument("--home", type=Path, help="state folder (default: QUIZSTREAM_HOME or .quizstream)")
    parser.add_argument("--port-base", type=int, help="first port (default: QUIZSTREAM_PORT_BASE or 8600)")
    parser.add_argument(
        "--brokers", type=int, choices=BROKERS_CHOICES, help="Kafka brokers (default: as before, or 1)"
    )
    parser.add_argument("--kafka-heap-mib", type=int, help="of each broker")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        stack = EmbeddedStack(
            options.home or Home.from_env().path,
            Ports.from_env() if options.port_base is None else Ports.from_base(options.port_base),
            lambda line: print(line, file=sys.stderr, flush=True),
            brokers=options.brokers,
            kafka_heap_mib=options.kafka_heap_mib,
        )
        with stack as urls:
            for name, value in urls.as_env().items():
                print(f"export {name}={shlex.quote(value)}")
            sys.stdout.flush()
            stack.watch(lambda line: print(line, file=sys.stderr, flush=True))
            while True:
                time.sleep(SIGNAL_SEEN_WITHIN_S)
    except KeyboardInterrupt:
        return 0
    except CannotStart as error:
        print(error.message, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
