"""Topics, tables and the demonstration's seeds, on servers that run already: `python -m ops.prepare`.

What a start needs before its first process, where no supervisor does it: a container that runs to its end.
"""

from __future__ import annotations

import sys

from ops import deployment
from ops.deployment import Deployment
from ops.one_line import one_line
from ops.seed import seed
from ops.topology_command import apply
from sinks.postgres.migrate import migrate


def prepare(found: Deployment) -> None:
    """Return once everything is there; again, nothing is changed. Raises what `one_line` knows."""
    settings = found.settings
    apply(found.topology, settings.kafka_bootstrap_servers, settings.replication_factor)
    migrate(settings.database_url)
    seed(found)


def main() -> int:
    try:
        prepare(deployment.find())
    except Exception as error:
        line = one_line(error)
        if line is None:
            raise
        print(f"prepare: {line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
