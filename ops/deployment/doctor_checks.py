"""Checks of `doctor` beyond servers and processes: topics and tables match this code."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from ops.dead_letters.letters import QUERIES
from ops.deployment.doctor import Ailing, Check, Warned
from ops.topics import command
from pipeline.runtime.settings import Settings
from pipeline.topology import loader
from sinks.delivery.holds import HoldReason, read_due, read_holds
from sinks.delivery.stop_switch import stops
from sinks.postgres.connect import connect
from sinks.postgres.schema.migrate import applied, migrations, pending

STATEMENT_TIMEOUT_MS = 3_000
STOPS_SHOWN_MAX = 3
FAULTS = (HoldReason.NO_PERMIT, HoldReason.OTHER_LEDGER)  # nobody decided them, unlike a stop


def _topics(settings: Settings) -> str:
    wanted = loader.load(settings.topology_file, settings.topic_namespace)
    planned = command.plan(wanted, settings.kafka_bootstrap_servers, settings.replication_factor)
    if planned.drift:
        raise Ailing(f"{len(planned.lines())} differences from topology.yaml")
    return f"{len(wanted.topics)} topics as in topology.yaml"


def _tables(settings: Settings) -> str:
    wanted = migrations()
    missing = pending(wanted, applied(settings.database_url))
    if missing:
        raise Ailing(f"{len(missing)} migrations are not applied")
    return f"at migration {wanted[-1].version:04d}"


def _dead_letters(settings: Settings) -> str:
    with connect(settings.database_url, "doctor", statement_timeout_ms=STATEMENT_TIMEOUT_MS) as connection:
        row = connection.execute(QUERIES["open_summary"]).fetchone()
    count, at, stage, reason = cast(tuple[int, datetime | None, str, str], row)
    if not count or at is None:
        return "none is open"
    newest = f"the newest of {at.isoformat(timespec='seconds')}: {stage}: {reason}"
    raise Warned(f"{count:,} are open, {newest}")


def _sending(settings: Settings) -> str:
    with connect(settings.database_url, "doctor", statement_timeout_ms=STATEMENT_TIMEOUT_MS) as connection:
        holds, due, stopped = read_holds(connection), read_due(connection), stops(connection)
    partial = [f"{stop.scope} is stopped" for stop in stopped if stop.scope not in ("global", "recovery")]
    oldest = f"{due.found:,} deliveries are due"
    if due.found:
        oldest += f", the oldest for {due.age_s:.0f} s"
    if not holds:
        found = "; ".join([oldest, *partial[:STOPS_SHOWN_MAX]])
        if partial:
            raise Warned(found, "`quizstream resume-sending`, where the stop is not needed any more")
        return found
    first = holds[0]
    if first.reason is HoldReason.NO_NUMBER and not due.found:
        return f"{first.detail} yet; nothing is due"
    detail = f"nothing is sent: {'; '.join(hold.detail for hold in holds)} ({oldest})"
    raise (Ailing if first.reason in FAULTS else Warned)(detail, first.remedy)


CHECKS = (
    Check("topics", _topics, "see `quizstream topology plan`, then `quizstream topology apply`", "kafka"),
    Check("tables", _tables, "run `python -m sinks.postgres.schema.migrate`", "postgres"),
    Check("sending", _sending, "see `quizstream number list`", "tables"),
    Check("dead letters", _dead_letters, "see `quizstream dead-letters list`", "tables"),
)
