"""Whether the edge runs, and whether it can accept a completion now."""

from __future__ import annotations

import msgspec

from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.kafka.producer import Log
from ingest_api.reference.loader import Facts
from pipeline.runtime.health import Readiness

NO_STORE = ((b"cache-control", b"no-store"),)


class Health:
    def __init__(self, log: Log, facts: Facts) -> None:
        self._log = log
        self._facts = facts

    async def live(self, _scope: Scope, _receive: Receive) -> Reply:
        """Says only that the loop turns: whatever ails the servers, a restart of the edge is no cure."""
        return Reply(200, b'{"live":true}', headers=NO_STORE)

    async def ready(self, _scope: Scope, _receive: Receive) -> Reply:
        now = self.readiness()
        return Reply(
            200 if now.ready else 503,
            msgspec.json.encode({"ready": now.ready, "reasons": now.reasons}),
            headers=NO_STORE,
        )

    def readiness(self) -> Readiness:
        log = self._log.problem
        return Readiness((*self._facts.problems, *(() if log is None else (log,))))
