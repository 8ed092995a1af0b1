"""Topics, tables and the demonstration's seeds, on running servers: `python -m ops.deployment.prepare`.

What a start needs before its first process, where no supervisor does it: a container that runs to its end.
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
from sinks.postgres.backoff import Backoff
from sinks.postgres.dead_letter_producer import producer
from sinks.postgres.outbox import Publisher
from sinks.postgres.schema.migrate import connect_current, migrate

HELD_UP_S_MAX = 20.0  # then the sink's publisher does it, once the transaction has ended
HELD_UP_LOOK_S = 0.02


def prepare(found: Deployment) -> int:
    """Return once everything is there, from when on every seeded campaign is in force (ms since the epoch).

    Again, nothing is changed. Raises what `one_line` knows.
    """
    settings = found.settings
    apply(found.topology, settings.kafka_bootstrap_servers, settings.replication_factor)
    migrate(settings.database_url)
    effective_at_ms = seed(found)
    publish(found)
    return effective_at_ms


def publish(found: Deployment) -> None:
    """Publishes what is in the outbox, unless a process that runs already does.

    Called before the first process starts: each then finds the reference data of the seeds at its start,
    however long that takes, and no campaign is in force that the stream has not read. A transaction that is
    open somewhere on the server delays events: they are waited for, for a limited time.
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
