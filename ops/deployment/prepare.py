"""Creates topics and tables on running servers: `python -m ops.deployment.prepare`.

Without a supervisor, a container runs it once before the other processes start. With `--demo`, or
QUIZSTREAM_DEMO=1, it also creates the demo data: never where real people receive messages.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence

from ops import locate
from ops.deployment.seed import seed
from ops.errors import one_line
from ops.locate import Deployment
from ops.topics.command import apply
from pipeline.errors import CannotStart
from pipeline.runtime.backoff import Backoff
from sinks.postgres.dead_letter_producer import producer
from sinks.postgres.isolation.login import allow_login, tenants_url
from sinks.postgres.outbox import Publisher
from sinks.postgres.schema.migrate import connect_current, migrate

DEMO_OPTION = "--demo"
DEMO_VARIABLE = "QUIZSTREAM_DEMO"
HELD_UP_S_MAX = 20.0  # then the sink's publisher does it, once the transaction has ended
HELD_UP_LOOK_S = 0.02


def prepare(found: Deployment, *, demo: bool = False) -> int:
    """Create what is missing; return when every seeded campaign is in force, in ms since the epoch.

    Only `demo` seeds anything. A second call changes nothing. Its exceptions are those of
    `ops.errors.one_line`.
    """
    settings = found.settings
    apply(found.topology, settings.kafka_bootstrap_servers, settings.replication_factor)
    migrate(settings.database_url)
    allow_login(settings.database_url, tenants_url(settings))
    effective_at_ms = seed(found) if demo else int(time.time() * 1000)
    publish(found)
    return effective_at_ms


def publish(found: Deployment) -> None:
    """Publish the outbox's events, unless a running process does.

    Called before the first process starts, so that each process reads the seeds' reference data at its start
    and no campaign is in force before the stream has read it. An open transaction anywhere on the server
    delays events; the wait for them has a limit.
    """
    settings, largest = found.settings, found.topology.record_bytes_max
    outbox_producer = producer(settings.kafka_bootstrap_servers, "quizstream-prepare", largest)
    url = settings.database_url
    publisher = Publisher(found.topology, outbox_producer, lambda: connect_current(url, "prepare"), Backoff())
    try:
        give_up_s = time.monotonic() + HELD_UP_S_MAX
        while publisher.publish_once() or (
            publisher.leading and publisher.held_up() and time.monotonic() < give_up_s
        ):
            time.sleep(HELD_UP_LOOK_S)
    finally:
        ended = threading.Event()
        ended.set()
        publisher.run(ended)  # gives the lead back


def is_demo(arguments: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether the demo data was asked for. Raises CannotStart for arguments and values that are unknown."""
    unknown = [argument for argument in arguments if argument != DEMO_OPTION]
    value = env.get(DEMO_VARIABLE, "")
    if unknown or value not in ("", "0", "1"):
        raise CannotStart(f"usage: prepare [{DEMO_OPTION}], or {DEMO_VARIABLE}=1 (or 0)")
    return DEMO_OPTION in arguments or value == "1"


def main() -> int:
    try:
        prepare(locate.find(), demo=is_demo(sys.argv[1:], os.environ))
    except Exception as error:
        line = one_line(error)
        if line is None:
            raise
        print(f"prepare: {line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
