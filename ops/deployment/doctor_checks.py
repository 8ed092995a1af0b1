"""Checks of `doctor` beyond servers and processes: topics and tables match this code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

from ops.abuse.operations import list_verdicts
from ops.dead_letters.letters import QUERIES
from ops.deployment.doctor import Ailing, Check, Warned, edges_of
from ops.locate import Deployment
from ops.topics import command
from pipeline.runtime.settings import Settings
from pipeline.topology import loader
from sinks import providers
from sinks.delivery.holds import HoldReason, read_due, read_holds
from sinks.delivery.stop_switch import held_numbers, stops
from sinks.postgres.catalogue.webhook_keys import has_own_address
from sinks.postgres.connect import connect
from sinks.postgres.queries import load_queries
from sinks.postgres.schema.migrate import applied, migrations, pending

STANDSTILL = load_queries(Path(__file__).with_name("standstill.sql"))
STATEMENT_TIMEOUT_MS = 3_000
NAMED_MAX = 3  # of stops, numbers, tenants in one finding; their number is always in it
REASON_CHARS_MAX = 60
COUNTED_MAX = 100_000  # of rows that a check only counts
STATUS_LATE_S = 3600.0  # a status may come before the answer to its call is recorded
MIGRATE_FILE = Path("/proc/sys/net/ipv4/tcp_migrate_req")
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
    partial = [
        f"{stop.scope} is stopped{_because(stop.reason)}"
        for stop in stopped
        if stop.scope not in ("global", "recovery") and not stop.by_tenant  # its tenant's own decision
    ]
    oldest = f"{due.found:,} deliveries are due"
    if due.found:
        oldest += f", the oldest for {due.age_s:.0f} s"
    if not holds:
        if partial:
            found = f"{_first(partial)}; {oldest}"
            raise Warned(found, "`quizstream resume-sending`, where the stop is not needed any more")
        return oldest
    first = holds[0]
    if first.reason is HoldReason.NO_NUMBER and not due.found:
        return f"{first.detail} yet; nothing is due"
    detail = f"nothing is sent: {'; '.join(hold.detail for hold in holds)} ({oldest})"
    raise (Ailing if first.reason in FAULTS else Warned)(detail, first.remedy)


def _numbers(settings: Settings) -> str:
    with connect(settings.database_url, "doctor", statement_timeout_ms=STATEMENT_TIMEOUT_MS) as connection:
        held = held_numbers(connection)
    if held:
        raise Warned(_first([f"number {one.number_id} is {one.state}{_because(one.reason)}" for one in held]))
    return "none is held"


def _tenants(settings: Settings) -> str:
    parameters = {"limit": COUNTED_MAX}
    with connect(settings.database_url, "doctor", statement_timeout_ms=STATEMENT_TIMEOUT_MS) as connection:
        rows = connection.execute(STANDSTILL["tenants_without_number"], parameters).fetchall()
    if rows:
        raise Warned(f"without a usable sender number: {_first([str(tenant) for (tenant,) in rows], ', ')}")
    return "each that sends has a sender number"


def _outbox(settings: Settings) -> str:
    with connect(settings.database_url, "doctor", statement_timeout_ms=STATEMENT_TIMEOUT_MS) as connection:
        rows = connection.execute(STANDSTILL["set_aside_events"], {"limit": COUNTED_MAX}).fetchall()
    if rows:
        raise Warned(f"larger than their topic takes: {_first([f'{key} ({topic})' for topic, key in rows])}")
    return "no event is set aside"


def _webhooks(settings: Settings) -> str:
    parameters = {"counted_max": COUNTED_MAX, "late_s": STATUS_LATE_S}
    with connect(settings.database_url, "doctor", statement_timeout_ms=STATEMENT_TIMEOUT_MS) as connection:
        row = connection.execute(STANDSTILL["unresolved_webhooks"], parameters).fetchone()
    decisions, events, statuses = cast(tuple[int, int, int], row)
    others = f"{events:,} inbound events lead to no contact, {statuses:,} statuses to no message"
    if decisions:
        raise Warned(f"{decisions:,} opt-outs or opt-ins of unknown people; in all {others}")
    return others


def _webhook_keys(settings: Settings) -> str:
    keyed = [name for name in providers.names() if has_own_address(name)]
    parameters = {"providers": keyed, "limit": COUNTED_MAX}
    with connect(settings.database_url, "doctor", statement_timeout_ms=STATEMENT_TIMEOUT_MS) as connection:
        rows = connection.execute(STANDSTILL["numbers_without_key"], parameters).fetchall()
    if rows:
        named = _first([str(number) for (number,) in rows], ", ")
        raise Warned(f"session numbers without a webhook key, whose webhooks are rejected: {named}")
    return "each session number has its key"


def _clients(settings: Settings) -> str:
    """How clients reach the edges, and under which address they are counted."""
    sources = loader.load(settings.topology_file, settings.topic_namespace).edge.sources
    edges = edges_of(settings)
    how = f"{edges} edges share port {settings.ports.edge}" if edges > 1 else "one edge"
    if edges > 1 and not _migrates():
        how += " (net.ipv4.tcp_migrate_req is 0: a restart resets handshakes that take over 0.4 s)"
    believed = f"load balancers of {_first(sources.proxies, ', ')}" if sources.proxies else "no load balancer"
    limited = f"all but {_first(sources.trusted, ', ')}" if sources.trusted else "all"
    return f"{how}; the client's address is taken from {believed}; rate limits hold for {limited}"


def _abuse(settings: Settings) -> str:
    """Blocked addresses may be those of honest people."""
    topology = loader.load(settings.topology_file, settings.topic_namespace)
    states = Counter(one.state for one in list_verdicts(Deployment(settings, topology)))
    if not states:
        return "nobody is delayed, challenged or blocked"
    found = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
    if states["blocked"]:
        raise Warned(found)
    return found


def _migrates() -> bool:
    """Whether Linux hands connections of a closed socket to the others of its port."""
    try:
        return MIGRATE_FILE.read_text().strip() == "1"
    except OSError:
        return False


def _because(reason: str) -> str:
    shown = reason if len(reason) <= REASON_CHARS_MAX else f"{reason[: REASON_CHARS_MAX - 3]}..."
    return f" ({shown})" if shown else ""


def _first(names: Sequence[str], separator: str = "; ") -> str:
    more = [f"and {len(names) - NAMED_MAX} more"] if len(names) > NAMED_MAX else []
    return separator.join([*names[:NAMED_MAX], *more])


CHECKS = (
    Check("topics", _topics, "see `quizstream topology plan`, then `quizstream topology apply`", "kafka"),
    Check("tables", _tables, "run `python -m sinks.postgres.schema.migrate`", "postgres"),
    Check("sending", _sending, "see `quizstream number list`", "tables"),
    Check("numbers", _numbers, "remove the cause, then `quizstream number release ID`", "tables"),
    Check("tenants", _tenants, "`quizstream number add`: their deliveries wait", "tables"),
    Check(
        "outbox",
        _outbox,
        "save them smaller, or raise topics.*.record_bytes_max, apply the topology and restart the sink",
        "tables",
    ),
    Check("webhooks", _webhooks, "see `quizstream suppression inbound --unresolved`", "tables"),
    Check(
        "webhook keys",
        _webhook_keys,
        "`quizstream number webhook ID --rotate`; register the address",
        "tables",
    ),
    Check("clients", _clients, "see `quizstream topology plan`"),
    Check("abuse", _abuse, "see `quizstream abuse list`; `quizstream abuse release WHO`", "valkey"),
    Check("dead letters", _dead_letters, "see `quizstream dead-letters list`", "tables"),
)
