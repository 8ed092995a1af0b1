"""Liveness and readiness of the edge."""

from __future__ import annotations

import msgspec

from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.kafka.producer import Publisher
from ingest_api.reference.loader import ReferenceData
from pipeline.runtime.health import Readiness

NO_STORE = ((b"cache-control", b"no-store"),)


class Health:
    def __init__(self, publisher: Publisher, reference_data: ReferenceData) -> None:
        self._publisher = publisher
        self._reference_data = reference_data

    async def live(self, _scope: Scope, _receive: Receive) -> Reply:
        """Answer 200 while the event loop runs: a restart of the edge cannot repair another server."""
        return Reply(200, b'{"live":true}', headers=NO_STORE)

    async def ready(self, _scope: Scope, _receive: Receive) -> Reply:
        now = self.readiness()
        return Reply(
            200 if now.ready else 503,
            msgspec.json.encode({"ready": now.ready, "reasons": now.reasons}),
            headers=NO_STORE,
        )

    def readiness(self) -> Readiness:
        kafka = self._publisher.problem
        return Readiness((*self._reference_data.problems, *(() if kafka is None else (kafka,))))
