"""Every alert has data in a run where its condition holds, and every panel shows something: real scrapes.

Each condition is made with real processes. `promtool` then evaluates the rule file that Prometheus loads.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from ops.embedded.stack import ServerUrls
from ops.monitoring import dashboard
from ops.monitoring.generate import FOLDER
from ops.processes.table import health_urls
from ops.topics.command import apply
from pipeline.abuse.states import Cause, State, follow
from pipeline.abuse.verdicts import Verdicts
from pipeline.runtime.clock import now_ms
from pipeline.runtime.settings import Settings
from pipeline.runtime.valkey import connect
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from sinks.delivery.stop_switch import scope_of, stop_sending
from tests.support import edge as edges
from tests.support.ports import free_ports
from tests.support.producer import delivered, make_producer
from tests.support.promtool import NAME, Expected, Run, evaluate
from tests.support.quizzes import Make
from tests.support.running_pipeline import Pipeline, until
from tests.support.scrapes import Scrape, scrape, together
from tests.support.sender_world import World
from tests.support.signed_webhooks import post_webhook

pytestmark = pytest.mark.xdist_group("acceptance")

RULES = FOLDER / "prometheus" / "alerts.yml"
NOWHERE = "127.0.0.1:9"  # nobody listens
GARBAGE = b"no Avro at all"
PANELS = dashboard.rows(load(Settings.from_env({}).topology_file))

# Alert -> the runs below in which its condition holds.
CONDITIONS: dict[str, tuple[str, ...]] = {
    "QuizstreamLagRecords": ("lag",),
    "QuizstreamLagSeconds": ("lag",),
    "QuizstreamLagUnknown": ("brokers_gone",),
    "QuizstreamProcessDown": ("down",),
    "QuizstreamProcessMissing": ("no_worker",),
    "QuizstreamProcessRestarts": ("restarts",),
    "QuizstreamEdgeErrors": ("edge_without_kafka",),
    "QuizstreamLimitsLocal": ("edge_without_valkey",),
    "QuizstreamAbuseBlocked": ("blocked",),
    "QuizstreamAbuseAlone": ("edge_without_valkey",),
    "QuizstreamCacheStale": ("pages_without_postgres",),
    "QuizstreamDeadLetters": ("dead_letters", "dead_letters_without_stream"),
    "QuizstreamSendErrors": ("calls_that_fail",),
    "QuizstreamUnlistedProviderCode": ("calls_that_fail",),
    "QuizstreamOptOutsUnresolved": ("webhooks_of_strangers",),
    "QuizstreamWebhookNoticesUnresolved": ("webhooks_of_strangers",),
    "QuizstreamWebhooksLate": ("webhooks_wait",),
    "QuizstreamWebhookEndpointFailing": ("webhooks_wait",),
    "QuizstreamWebhooksGivenUp": ("webhooks_wait",),
    "QuizstreamSessionLost": ("numbers_held",),
    "QuizstreamNumberQuarantined": ("numbers_held",),
    "QuizstreamAmbiguousDeliveries": ("calls_that_fail",),
    "QuizstreamSendingHeld": ("sending_stopped",),
    "QuizstreamOutboxStuck": ("outbox_without_kafka",),
    "QuizstreamOutboxWithoutLeader": ("outbox_standby_alone", "no_sink"),
    "QuizstreamOutboxSetAside": ("too_large",),
    "QuizstreamFactsBad": ("unreadable_reference_data",),
}
GIVE_UP_S = 100.0  # a bound on a hang, not a promise
EVALUATED_AFTER_S = 90  # beyond an alert's own duration


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_every_alert_has_a_run_in_which_its_condition_holds() -> None:
    assert set(CONDITIONS) == set(alerts())


def test_every_alert_has_data_while_its_condition_holds_and_none_before(
    pipeline: Pipeline, make_quiz: Make, stack: ServerUrls, database_url: str, namespace: str, tmp_path: Path
) -> None:
    scenes = [
        lambda: lagging(stack, namespace, tmp_path),
        lambda: brokers_gone(tmp_path),
        lambda: edge_without_kafka(tmp_path),
        lambda: unreadable_reference_data(stack, f"{namespace}r", tmp_path),
        lambda: senders_and_outbox(database_url, tmp_path),
        lambda: (
            dead_letters(pipeline, make_quiz)
            | webhooks_of_strangers(pipeline)
            | numbers_held(pipeline)
            | too_large(pipeline)
            | webhooks_wait(pipeline)
        ),
        lambda: no_worker(pipeline),
    ]
    runs: dict[str, Run] = {}
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(lambda scene: scene(), scenes):
            runs |= found

    rules = alerts()
    panels = [(panel.title, query.expr) for row in PANELS for panel in row.panels for query in panel.queries]
    everything = Run(
        None, (together(run.during[0] for run in runs.values()), together(run.last for run in runs.values()))
    )
    for name, expr in [*panels, *((alert, rule["expr"]) for alert, rule in rules.items())]:
        assert missing_in(expr, everything) == [], f"{name}: nobody exports it"

    expectations = []
    for alert, names in CONDITIONS.items():
        expr = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
        inputs = rules[alert]["expr"]
        after_s = int(rules[alert]["for"].removesuffix("s")) + EVALUATED_AFTER_S
        for name in names:
            run = runs[name]
            expectations.append(Expected(f"{alert}: {name}", expr, run, after_s, inputs=inputs))
            if run.before is not None:
                quiet = Expected(f"{alert}: before {name}", expr, run, -30, data=False, inputs=inputs)
                expectations.append(quiet)
    expectations += [Expected(f"panel {title}", expr, everything, 120) for title, expr in panels]
    assert evaluate(RULES, expectations, tmp_path) == ""


SELECTOR = re.compile(rf"({NAME.pattern})(?:\{{([^}}]*)\}})?")
MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')


def missing_in(expr: str, run: Run) -> list[str]:
    """Selectors of the expression that no scraped series of the run fulfils; those in `absent` need none."""
    wanted = re.sub(r"absent\([^)]*\)", "", expr)
    return [
        found[0]
        for found in SELECTOR.finditer(wanted)
        if not any(_fits(found, name, dict(labels)) for name, labels in run.last.values)
    ]


def _fits(selector: re.Match[str], name: str, labels: dict[str, str]) -> bool:
    tests: dict[str, Callable[[str, str], bool]] = {
        "=": lambda has, asked: has == asked,
        "!=": lambda has, asked: has != asked,
        "=~": lambda has, asked: re.fullmatch(asked, has) is not None,
    }
    return name == selector[1] and all(
        tests[how](labels.get(label, ""), asked) for label, how, asked in MATCHER.findall(selector[2] or "")
    )


@contextmanager
def process(name: str, folder: Path, **env: str) -> Iterator[Callable[[], Scrape]]:
    """A process of the product under ports of its own; yields what scrapes it, and kills it at the end."""
    ports = free_ports()
    own = {key: value for key, value in os.environ.items() if not key.startswith("QUIZSTREAM_")}
    own |= {"QUIZSTREAM_HOME": str(folder), "QUIZSTREAM_PORT_BASE": str(ports.base)} | env
    settings = Settings.from_env(own)
    urls = {"lag": f"http://127.0.0.1:{ports.supervisor_metrics}"} | {
        each: url.removesuffix("/health/ready") for each, url in health_urls(settings).items()
    }
    command = ["ops.monitoring.lag_exporter"] if name == "lag" else ["ops.processes.table", name]
    log_file = folder / f"{name}-{ports.base}.log"
    with log_file.open("wb") as log:
        running = subprocess.Popen([sys.executable, "-m", *command], env=own, stdout=log, stderr=log)

    def scraped() -> Scrape:
        return scrape(name, f"{urls[name]}/metrics")

    try:
        until(lambda: scraped().value("up") == 1, f"{name} serves its metrics ({log_file})")
        yield scraped
    finally:
        running.kill()
        running.wait()


def once(scraped: Callable[[], Scrape], holds: Callable[[Scrape], bool], what: str) -> Scrape:
    """The first scrape for which it holds."""
    found: list[Scrape] = []

    def holds_now() -> bool:
        found[:] = [scraped()]
        return holds(found[0])

    until(holds_now, what, GIVE_UP_S)
    return found[0]


def produce(bootstrap: str, topic: str, partitions: int, values: list[bytes], at_ms: int = 0) -> None:
    producer = make_producer(bootstrap)
    for position, value in enumerate(values):
        producer.produce(topic, value, b"key", position % partitions, timestamp=at_ms)
    delivered(producer)


def lagging(stack: ServerUrls, namespace: str, folder: Path) -> dict[str, Run]:
    """Nobody reads, and more lies in a topic than the threshold, older than the threshold."""
    file = folder / "lag-topology.yaml"
    plain = Settings.from_env({}).topology_file.read_text()
    file.write_text(re.sub(r"partitions: \d+", "partitions: 1", plain))
    topology = load(file, namespace)
    apply(topology, stack.kafka_bootstrap, 1)
    env = {**stack.as_env(), "QUIZSTREAM_TOPOLOGY": str(file), "QUIZSTREAM_NAMESPACE": namespace}
    limits = topology.alerts
    with process("lag", folder, **env) as scraped:
        before = once(scraped, lambda now: now.value("quizstream_lag_records") == 0, "no lag")
        old_ms = int((time.time() - limits.lag_s_max - 60) * 1000)
        completions = topology.topic("completions").name
        produce(stack.kafka_bootstrap, completions, 1, [b"x"] * (limits.lag_records_max + 1), old_ms)
        during = once(scraped, lambda now: bool(now.value("quizstream_lag_records")), "lag")
    return {"lag": Run(before, (during,))}


def brokers_gone(folder: Path) -> dict[str, Run]:
    """An exporter that reaches no broker, which is killed and started again, and then stays away."""
    starts = []
    for _ in range(5):
        with process("lag", folder, KAFKA_BOOTSTRAP_SERVERS=NOWHERE) as scraped:
            starts.append(scraped())
    first = starts[0]
    address = {dict(labels)["instance"] for _, labels in first.values}.pop()
    down = scrape("lag", f"http://{address}/metrics")
    # One target, whatever port each start had.
    same = [_at_one_address(each) for each in starts]
    return {
        "brokers_gone": Run(None, (first,)),
        "restarts": Run(same[0], tuple(same)),
        "down": Run(first, (down,)),
    }


def _at_one_address(one: Scrape) -> Scrape:
    def moved(series: Any) -> Any:
        return series[0], tuple((key, "lag" if key == "instance" else value) for key, value in series[1])

    values = {moved(series): value for series, value in one.values.items()}
    return Scrape(values, frozenset(map(moved, one.counters)))


def edge_without_kafka(folder: Path) -> dict[str, Run]:
    def post(count: int, scraped: Callable[[], Scrape]) -> Scrape:
        address = {dict(labels)["instance"] for _, labels in scraped().values}.pop()
        for _ in range(count):
            url = f"http://{address}/quiz/bfi/completions"
            request = urllib.request.Request(url, b'{"answers": {}}', {"Content-Type": "application/json"})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            assert refused.value.code == 503
        return once(
            scraped, lambda now: bool(now.value("quizstream_edge_produce_errors_total")), "Kafka errors"
        )

    def show(count: int, scraped: Callable[[], Scrape]) -> Scrape:
        address = {dict(labels)["instance"] for _, labels in scraped().values}.pop()
        for _ in range(count):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"http://{address}/quiz/bfi")
            assert refused.value.code == 503
        return scraped()

    gone = {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "REDIS_URL": f"redis://{NOWHERE}/0"}
    with process("edge", folder, **gone) as scraped:
        gauges = ("quizstream_edge_limits_local", "quizstream_abuse_alone")
        alone = once(scraped, lambda now: all(now.value(name) == 1 for name in gauges), "no Valkey")
        return {
            "edge_without_kafka": Run(alone, (post(3, scraped), post(3, scraped))),
            "edge_without_valkey": Run(None, (alone,)),
            "pages_without_postgres": Run(alone, (show(3, scraped), show(3, scraped))),
        }


def unreadable_reference_data(stack: ServerUrls, namespace: str, folder: Path) -> dict[str, Run]:
    """The record lies in the topic before the process starts: its first scrape shows it already."""
    settings = edges.settings_for(stack.kafka_bootstrap, namespace)
    topology = edges.prepare(settings)
    produce(stack.kafka_bootstrap, topology.topic("quizzes").name, 1, [GARBAGE])
    env = {**stack.as_env(), "QUIZSTREAM_NAMESPACE": namespace}
    with process("edge", folder, **env) as scraped:
        name = "quizstream_reference_data_undecodable_total"
        counted = once(scraped, lambda now: now.value(name) == 1, "the record is counted")
        asyncio.run(_block(stack.redis_url, topology))
        blocked = {"kind": "address", "state": "blocked"}
        return {
            "unreadable_reference_data": Run(None, (counted,)),
            "blocked": Run(
                None,
                (once(scraped, lambda now: now.value("quizstream_abuse_verdicts", **blocked) == 1, "it"),),
            ),
        }


async def _block(redis_url: str, topology: Topology) -> None:
    limits, now = topology.edge.abuse, now_ms()
    verdicts = Verdicts(partial(connect, redis_url, 60.0), topology.namespace, limits, 60.0)
    verdict = follow(
        None, State.BLOCKED, Cause.OPERATOR, named="address:00", sealed="", now_ms=now, lasts_s=600
    )
    assert await verdicts.put(verdict, None, now)
    await verdicts.close()


def senders_and_outbox(database_url: str, folder: Path) -> dict[str, Run]:
    with World(database_url, folder / "world") as world:
        return _calls_that_fail(world) | _outbox(world, folder)


def _calls_that_fail(world: World) -> dict[str, Run]:
    def scraped() -> Scrape:
        return scrape("whatsapp-sender", f"http://127.0.0.1:{world.metrics_port}/metrics")

    def fail(count: int) -> Scrape:
        failed = world.states().get("failed", 0)
        world.deliveries(campaign, count)
        world.wait_until(lambda: world.states().get("failed", 0) == failed + count)
        return scraped()

    world.number()
    campaign = world.campaign()
    world.simulator()
    sender = world.sender()
    world.deliveries(campaign)
    world.wait_until(lambda: world.states() == {"sent": 1})
    before = once(
        scraped, lambda now: now.value("quizstream_sender_deliveries", state="waiting") == 0, "gauges"
    )
    world.rule("reset", count=1)
    world.deliveries(campaign)
    world.wait_until(lambda: world.states().get("ambiguous") == 1)
    sender.terminate()
    sender.wait()
    world.rule("error", code=999_999, status=400)
    world.sender()  # counts at its start what the other one left
    # A table that is not there is what a sender sees of a database in trouble.
    once(scraped, lambda now: bool(now.value("quizstream_sender_numbers")), "a number is leased")
    during = fail(2)
    world.db.execute("ALTER TABLE sender_processes RENAME TO moved_away")
    database_errors = "quizstream_sender_database_errors_total"
    once(scraped, lambda now: bool(now.value(database_errors)), "database errors")
    world.db.execute("ALTER TABLE moved_away RENAME TO sender_processes")
    runs = {"calls_that_fail": Run(before, (during, fail(3)))}
    stop_sending(world.db, scope_of("global"), "of a test")
    held = once(scraped, lambda now: now.value("quizstream_sender_held", reason="stopped") == 1, "a hold")
    return runs | {"sending_stopped": Run(before, (held,))}


def _outbox(world: World, folder: Path) -> dict[str, Run]:
    """A publisher that leads and reaches no broker, and a second one that waits for the lead."""
    world.db.execute("DELETE FROM outbox")
    env = {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "DATABASE_URL": world.database_url}
    age, leads = "quizstream_outbox_age_seconds", "quizstream_outbox_leader"
    with ExitStack() as processes:
        leader = processes.enter_context(process("postgres-sink", folder, **env))
        before = once(leader, lambda now: now.value(leads) == 1, "a leader")
        world.db.execute(
            "INSERT INTO outbox (topic, key, value, created_at)"
            " VALUES ('delivery_events', 'k', 'v', now() - interval '2 minutes')"
        )
        stuck = once(
            leader,
            lambda now: bool(now.value("quizstream_outbox_setbacks_total")) and (now.value(age) or 0) > 60,
            "the age of the outbox, while Kafka is unavailable",
        )
        standby = processes.enter_context(process("postgres-sink", folder, **env))()
    nobody = Scrape({series: 0.0 for series in before.values if series[0] == "up"}, frozenset())
    return {
        "outbox_without_kafka": Run(before, (stuck,)),
        "outbox_standby_alone": Run(before, (standby,)),
        "no_sink": Run(before, (nobody,)),
    }


def no_worker(pipeline: Pipeline) -> dict[str, Run]:
    """Prometheus finds no container of the worker, which is no target then, and all of the others."""
    urls = health_urls(pipeline.found.settings)
    others = [name for name in urls if name != "worker"]
    return {
        "no_worker": Run(
            None,
            (
                together(
                    scrape(name, f"{urls[name].removesuffix('/health/ready')}/metrics") for name in others
                ),
            ),
        )
    }


def dead_letters(pipeline: Pipeline, make_quiz: Make) -> dict[str, Run]:
    """Garbage among the completions, twice: the stream and the archive each make dead letters of it."""
    settings, completions = pipeline.found.settings, pipeline.found.topology.topic("completions")
    urls = {
        name: url.replace("/health/ready", "/metrics")
        for name, url in health_urls(settings).items()
        if name != "edge"
    } | {"edge": f"{settings.edge_url}/metrics"}

    def everything() -> Scrape:
        return together(scrape(name, url) for name, url in urls.items())

    def sinks_alone() -> Scrape:
        return scrape("postgres-sink", urls["postgres-sink"])

    poison, refused = "quizstream_stream_poison_total", "quizstream_sink_dead_letters_total"

    def more(count: int) -> tuple[Scrape, Scrape]:
        now = everything()
        wanted = {name: (now.value(name) or 0) + count for name in (poison, refused)}
        values = [GARBAGE] * count
        produce(settings.kafka_bootstrap_servers, completions.name, completions.partitions, values)
        found = once(
            everything,
            lambda seen: all((seen.value(name) or 0) >= value for name, value in wanted.items()),
            "the dead letters are counted",
        )
        return found, sinks_alone()

    make_quiz("alarmes")
    before, before_alone = everything(), sinks_alone()
    _one_message(pipeline, "alarmes")
    once(everything, lambda now: bool(now.value("quizstream_statuses_merged_total")), "a status")
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE '%sink completions%'"
        )
    once(everything, lambda now: bool(now.value("quizstream_sink_setbacks_total")), "a setback")
    pipeline.all_ready()
    pairs = [more(20), more(20)]
    return {
        "dead_letters": Run(before, tuple(found for found, _ in pairs)),
        "dead_letters_without_stream": Run(before_alone, tuple(alone for _, alone in pairs)),
    }


def webhooks_of_strangers(pipeline: Pipeline) -> dict[str, Run]:
    """An opt-out of an unknown person, and the end of an unknown account."""
    url = health_urls(pipeline.found.settings)["postgres-sink"].removesuffix("/health/ready") + "/metrics"

    def scraped() -> Scrape:
        return scrape("postgres-sink", url)

    def counted(now: Scrape) -> list[float | None]:
        stops = now.value("quizstream_inbound_unresolved", consent="stop")
        return [stops, now.value("quizstream_webhook_notices_unresolved")]

    before = once(scraped, lambda now: counted(now) == [0, 0], "nothing is unresolved")
    stop = {"from_user_id": "BR.77777", "id": "wamid.stranger", "type": "text", "text": {"body": "PARE"}}
    post_webhook(pipeline, "messages", {"messages": [stop]})
    post_webhook(pipeline, "account_update", {"event": "ACCOUNT_DELETED"}, account="77777")
    during = once(scraped, lambda now: all(counted(now)), "both are counted")
    return {"webhooks_of_strangers": Run(before, (during,))}


def numbers_held(pipeline: Pipeline) -> dict[str, Run]:
    """A session that is lost, and a number that is quarantined."""
    url = health_urls(pipeline.found.settings)["postgres-sink"].removesuffix("/health/ready") + "/metrics"
    held = ("session_lost", "quarantined")

    def counted(now: Scrape) -> list[float | None]:
        return [now.value("quizstream_numbers_held", provider="uazapi", state=state) for state in held]

    before = scrape("postgres-sink", url)
    assert not any(counted(before))
    pipeline.rows(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential, state,"
        " session_lost_at) VALUES ('held-1', 'nobody', 'uazapi', 'http://p', 'A', 'paused', now()),"
        " ('held-2', 'nobody', 'uazapi', 'http://p', 'A', 'quarantined', NULL) RETURNING 1"
    )
    try:
        during = once(
            lambda: scrape("postgres-sink", url), lambda now: counted(now) == [1, 1], "both are shown"
        )
    finally:
        pipeline.rows("DELETE FROM sender_numbers WHERE tenant_id = 'nobody' RETURNING 1")
    return {"numbers_held": Run(before, (during,))}


def too_large(pipeline: Pipeline) -> dict[str, Run]:
    """An event that its topic does not take, until a later one of its key."""
    url = health_urls(pipeline.found.settings)["postgres-sink"].removesuffix("/health/ready") + "/metrics"
    add = "INSERT INTO outbox (topic, key, value) VALUES ('quizzes', 'too-large', %s) RETURNING 1"

    def seen(count: float) -> Scrape:
        return once(
            lambda: scrape("postgres-sink", url),
            lambda now: now.value("quizstream_outbox_set_aside") == count,
            f"{count} events are set aside",
        )

    before = seen(0)
    # Of random bytes: compression makes them no smaller.
    pipeline.rows(add, random.Random(7).randbytes(1_100_000))
    during = seen(1)
    pipeline.rows(add, None)  # a tombstone
    seen(0)
    return {"too_large": Run(before, (during,))}


def webhooks_wait(pipeline: Pipeline) -> dict[str, Run]:
    """An endpoint whose next message waits for one in flight, one that fails, and one with too many."""
    url = health_urls(pipeline.found.settings)["webhook-sender"].removesuffix("/health/ready") + "/metrics"
    most = pipeline.found.topology.webhooks.pending_of_tenant_max
    before = scrape("webhook-sender", url)
    pipeline.rows(
        "INSERT INTO webhook_endpoints (endpoint_id, tenant_id, url, kinds, salt, held_reason, failing_since)"
        " VALUES ('whe_late', 'nobody', 'https://a.example.com', '{}', 's', '', NULL),"
        " ('whe_failing', 'nobody', 'https://b.example.com', '{}', 's', '', now() - interval '2 days'),"
        " ('whe_many', 'someone', 'https://c.example.com', '{}', 's', 'held', NULL) RETURNING 1"
    )
    columns = "message_id, tenant_id, endpoint_id, delivery_id, sequence, kind, content"
    add = f"INSERT INTO webhook_messages ({columns}"
    pipeline.rows(
        f"{add}, lease, due_at) VALUES"
        " ('msg_1', 'nobody', 'whe_late', '00000000-0000-0000-0000-000000000001', 1, 'delivery.sent', '{}',"
        " gen_random_uuid(), now() + interval '1 h'),"
        " ('msg_2', 'nobody', 'whe_late', '00000000-0000-0000-0000-000000000001', 2, 'delivery.read', '{}',"
        " NULL, now() - interval '10 min') RETURNING 1"
    )
    pipeline.rows(
        f"{add}) SELECT 'msg_' || n, 'someone', 'whe_many', gen_random_uuid(), 1, 'delivery.sent', '{{}}'"
        " FROM generate_series(3, %s::integer) AS n RETURNING 1",
        most + 12,
    )

    def seen(now: Scrape) -> bool:
        ended = now.value("quizstream_webhook_messages_ended_total", state="given_up")
        values = [now.value(f"quizstream_webhook_{name}_seconds") or 0 for name in ("late", "failing")]
        return ended == 10 and values[0] > 600 and values[1] > 86_400

    try:
        during = once(lambda: scrape("webhook-sender", url), seen, "webhooks wait")
    finally:
        for table in ("webhook_messages", "webhook_endpoints"):
            pipeline.rows(f"DELETE FROM {table} WHERE tenant_id IN ('nobody', 'someone') RETURNING 1")
    return {"webhooks_wait": Run(before, (during,))}


def _one_message(pipeline: Pipeline, quiz_id: str) -> None:
    """A completion that the quiz's campaign matches."""
    body = json.dumps({"answers": {"quer": "sim"}, "contact": {"phone": "+5511987650099", "name": "Ana"}})
    url = f"{pipeline.found.settings.edge_url}/quiz/{quiz_id}/completions"
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        assert response.status == 202
