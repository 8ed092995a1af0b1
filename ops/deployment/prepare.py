"""Creates topics, tables and the demo seeds on running servers: `python -m ops.deployment.prepare`.

Without a supervisor, a container runs it once before the other processes start.
"""

from __future__ import annotations

import sys
import threading
import time

from ops import locate
from ops.deployment.seed import seed
from ops.errors import one_line
from ops.locate import Deployment
from ops.topics.command import apply
from pipeline.runtime.backoff import Backoff
from sinks.postgres.dead_letter_producer import producer
from sinks.postgres.outbox import Publisher
from sinks.postgres.schema.migrate import connect_current, migrate

HELD_UP_S_MAX = 20.0  # then the sink's publisher does it, once the transaction has ended
HELD_UP_LOOK_S = 0.02


def prepare(found: Deployment) -> int:
    """Create what is missing; return when every seeded campaign is in force, in ms since the epoch.

    A second call changes nothing. Its exceptions are those of `ops.errors.one_line`.
    """
    settings = found.settings
    apply(found.topology, settings.kafka_bootstrap_servers, settings.replication_factor)
    migrate(settings.database_url)
    effective_at_ms = seed(found)
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


def main() -> int:
    try:
        prepare(locate.find())
    except Exception as error:
        line = one_line(error)
        if line is None:
            raise
        print(f"prepare: {line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
