"""The parts of the anomaly detection, wired."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ingest_api.abuse.detector import Detector
from ingest_api.abuse.examiner import Examiner
from ingest_api.abuse.guard import Guard
from ingest_api.abuse.memory_store import MemoryStore
from ingest_api.abuse.observations import Observations
from ingest_api.abuse.table import Table
from ingest_api.abuse.tickets import Tickets
from ingest_api.abuse.used_tickets import UsedTickets
from ingest_api.abuse.valkey_store import ValkeyStore
from ingest_api.limits.sources import Sources
from ingest_api.reference.quizzes import Quizzes
from ingest_api.reference.tokens import Tokens
from pipeline.abuse.verdicts import Verdicts
from pipeline.runtime.clock import now_ms
from pipeline.runtime.settings import Settings
from pipeline.topology.model import Topology


class AbuseDetection:
    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        sources: Sources,
        quizzes: Quizzes,
        tokens: Tokens,
        connect: Callable[[float], Any],
    ) -> None:
        """`connect` makes a client of Valkey with a time-out in s; it is used later."""
        limits = topology.edge.abuse
        timeout_s = limits.timeout_ms / 1000
        observations = Observations(limits.observed_max)
        examiner = Examiner(sources.keys, quizzes, limits, time.monotonic, now_ms)
        table = Table(limits, now_ms)
        verdicts = Verdicts(partial(connect, timeout_s), topology.namespace, limits, timeout_s)
        self._store = ValkeyStore(verdicts, limits)
        self._detector = Detector(
            observations,
            examiner,
            table,
            self._store,
            partial(MemoryStore, limits, now_ms),
            limits,
            now_ms,
        )
        self.guard = Guard(
            table,
            observations,
            sources,
            examiner.network_key,
            tokens,
            partial(_tenant_of, quizzes),
            Tickets(settings.contact_key, limits, now_ms, UsedTickets(limits, now_ms, verdicts.run)),
            limits,
            now_ms,
        )

    def start(self) -> None:
        self._detector.start()

    async def close(self) -> None:
        await self._detector.close()
        await self._store.close()


def _tenant_of(quizzes: Quizzes, quiz_id: str) -> str | None:
    found = quizzes.find(quiz_id)
    return None if found is None else found.quiz.tenant_id
