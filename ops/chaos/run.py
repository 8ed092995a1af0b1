"""One fault run: start servers, processes and links, run load, inject the schedule, audit the ledger."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import psycopg

from ops import locate
from ops.audit import explain
from ops.audit.collect import Records
from ops.audit.ledger_audit import Report
from ops.audit.provider_record import Call, NoRecord, ProviderRecord
from ops.audit.reconcile import reconcile
from ops.audit.settle import settle
from ops.chaos import scene
from ops.chaos.burst import Burst, Bursts
from ops.chaos.clients.attack import NETWORK as ATTACK_FREE
from ops.chaos.clients.attack import Attacks, Siege
from ops.chaos.clients.pages import Pages, missing
from ops.chaos.crew import Crew
from ops.chaos.inject import Done, Injector, Subject
from ops.chaos.load import Load, LoadPlan
from ops.chaos.machine.background import Background
from ops.chaos.machine.clocks import Clocks
from ops.chaos.machine.database import DidNotHappen
from ops.chaos.machine.links import kafka_listeners, open_links, overrides, through
from ops.chaos.machine.servers import Servers
from ops.chaos.schedule import CLOCKS, EACH_PER_10_MINUTES, Fault, classes_for, schedule
from ops.chaos.verdict import Attacked, Attempt, Event, Gate, Overload, Position, Seen, counts_by_class, gates
from ops.chaos.watcher import Violation, Watcher, completion_ids
from ops.chaos.webhooks.opt_outs import OptOuts
from ops.demo.phones import demo_phone
from ops.deployment.prepare import prepare, publish
from ops.embedded.home import Home
from ops.locate import Deployment
from pipeline.errors import CannotStart
from pipeline.runtime.ports import Ports
from schemas.ids import contact_id

READY_TIMEOUT_S = 120.0
LAST_ANSWERS_TIMEOUT_S = 240.0
DRAIN_TIMEOUT_S = 180.0  # the gate requires less; a longer wait measures by how much it was exceeded
COMPLETIONS_PER_PERSON = 2.0
FAULTS_AT_ONCE_MAX = 40
EXPLAINED_MAX = 3
SERVER_VARIABLES = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "REDIS_URL")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """`faults` None: the schedule of the seed."""

    seed: int
    duration_s: float
    rate_per_s: float
    accepted_per_s_min: float
    brokers: int = 1
    faults: Sequence[Fault] | None = None

    @property
    def scheduled(self) -> Sequence[Fault]:
        return schedule(self.seed, self.duration_s, self.brokers) if self.faults is None else self.faults

    @property
    def each_min(self) -> int:
        """The minimum number of each class; 0 for an explicit schedule."""
        if self.faults is not None or self.duration_s < 180:
            return 0
        return max(1, int(EACH_PER_10_MINUTES * self.duration_s / 600))


class Outcome(msgspec.Struct, frozen=True):
    ok: bool
    seed: int
    duration_s: float
    gates: list[Gate]
    faults: dict[str, int]
    events: list[Event]
    violations: list[Violation]
    accepted: int
    retries: int
    drained_s: float
    report: Report
    histories: dict[str, list[str]]


@contextmanager
def running(home: Home, env: Mapping[str, str], progress: Progress, brokers: int = 1) -> Iterator[Subject]:
    """Run servers, links and processes inside the `with`; nothing runs after it. Raises CannotStart."""
    own = {key: value for key, value in env.items() if key not in SERVER_VARIABLES}
    own["QUIZSTREAM_HOME"] = str(home.path)
    own["QUIZSTREAM_TOPOLOGY"] = str(scene.topology_file(home.path, own, ATTACK_FREE))
    own["QUIZSTREAM_REPLICATION_FACTOR"] = str(brokers)
    ports = Ports.from_env(own)
    with ExitStack() as closing:
        background = Background("links and load")
        closing.callback(background.close)
        links = open_links(ports, brokers, background)
        servers = Servers(home, ports, progress, brokers, kafka_listeners(ports, brokers, links))
        closing.callback(servers.stop)
        urls = servers.start()
        found = locate.find({**own, **urls.as_env()})
        prepare(found)
        settings = found.settings
        provider_url = through(settings.simulator_url, links["sender-provider"])
        effective_at_ms = scene.plant(replace(found, settings=replace(settings, simulator_url=provider_url)))
        publish(found)
        clocks = Clocks(home.path / "clocks")
        own_env = overrides(found, links)
        for name in CLOCKS:
            own_env[name] = {**own_env.get(name, {}), **clocks.env(name)}
        crew = Crew(found, home.logs, own_env, servers.inherited_fds)
        closing.callback(crew.stop)
        late = crew.start(READY_TIMEOUT_S)
        if late:
            raise CannotStart(f"Not ready after {READY_TIMEOUT_S:.0f} s: {', '.join(late)}; see {home.logs}")
        time.sleep(max(0.0, effective_at_ms / 1000 + 0.25 - time.time()))
        yield Subject(found, crew, servers, links, clocks, background, seed=0)


def chaos(plan: Plan, home: Home, env: Mapping[str, str] = os.environ, progress: Progress = print) -> Outcome:
    """Run the plan in an empty home. Raises CannotStart."""
    with running(home, env, progress, plan.brokers) as subject:
        return carry_out(plan, replace(subject, seed=plan.seed), progress)


def carry_out(plan: Plan, subject: Subject, progress: Progress) -> Outcome:
    found, settings = subject.found, subject.found.settings
    accepted_file = settings.home / f"accepted-{plan.seed}.txt"
    watcher = Watcher(found)
    stop = asyncio.Event()
    load_plan = LoadPlan(
        seed=plan.seed,
        rate_per_s=plan.rate_per_s,
        people=max(50, int(plan.rate_per_s * plan.duration_s / COMPLETIONS_PER_PERSON)),
        edge_url=through(settings.edge_url, subject.links["clients-edge"]),
        service_token=settings.service_token,
    )
    calls_before = len(_calls(found))
    with accepted_file.open("w", buffering=1 << 16, encoding="utf-8") as file:
        load = Load(load_plan, file)
        bursts = Bursts(
            replace(load_plan, edge_url=settings.edge_url),
            settings.home,
            lambda burst: subject.background.call(load.take, burst.accepted_ids, burst.accepted_in_s),
        )
        attacks = Attacks(
            LoadPlan.completions_url(settings.edge_url),
            found.topology.edge.limits.address.limit,
            lambda number: demo_phone("honest", number),
            scene.unmatched,
        )
        injector = Injector(
            subject,
            lambda times: subject.background.do(load.hand_in(times)),
            bursts,
            partial(_attack, subject, attacks, load),
        )
        began_at = time.time()
        watcher.start()
        opt_outs = OptOuts(
            plan.seed,
            load_plan.people,
            lambda person: demo_phone(scene.QUIZ_ID, person),
            scene.NUMBERS[0],
            load_plan.edge_url,
            settings.webhook_secret,
        )
        loading = subject.background.begin(load.run(stop))
        opting_out = subject.background.begin(opt_outs.run(stop))
        pages = Pages(f"{load_plan.edge_url.rstrip('/')}/quiz/{scene.QUIZ_ID}/progress")
        visiting = subject.background.begin(pages.run(stop))
        began_s = time.monotonic()
        try:
            events = _inject_all(plan, injector, began_s, progress)
            time.sleep(max(0.0, began_s + plan.duration_s - time.monotonic()))
            load_s = time.monotonic() - began_s
        finally:
            subject.background.do(_set(stop))
        progress(f"the load ends; {load.tally.open:,} requests are still open")
        with suppress(TimeoutError):
            loading.result(LAST_ANSWERS_TIMEOUT_S)
            opting_out.result(LAST_ANSWERS_TIMEOUT_S)
            visiting.result(LAST_ANSWERS_TIMEOUT_S)
    last_fault_s = max((event.ended_s for event in events), default=0.0)
    late = subject.crew.supervisor.wait_ready(READY_TIMEOUT_S)
    moving = ", ".join(late) or settle(found, DRAIN_TIMEOUT_S, once(progress))
    drained_s = time.monotonic() - began_s - last_fault_s
    watcher.stop()
    progress(f"at rest {drained_s:.1f} s after the last fault; auditing the ledger")
    # The numbers call the simulator through a link: its record is theirs.
    linked = Records(aliases=(through(found.settings.simulator_url, subject.links["sender-provider"]),))
    report = reconcile(found, accepted_file, wait_s=0.0 if moving else None, others=linked)
    tally = load.tally
    seen = Seen(
        report=report,
        events=events,
        violations=watcher.violations,
        looks=watcher.looks,
        calls=_calls(found)[calls_before:],
        ambiguous=_ambiguous(found),
        dead_letters=_dead_letters(found),
        poisoned=injector.poisoned,
        unanswered=tally.open + tally.gave_up,
        refused=tally.problems if tally.refused else [],
        accepted_in_s=dict(tally.accepted_in_s),
        load_s=load_s,
        load_began_at=began_at,
        drained_s=drained_s,
        attempts=_attempts(found, began_at),
        call_s_max=found.topology.sender.call_timeout_s + found.topology.sender.mark_to_call_max_ms / 1000,
        opted_out=opt_outs.done,
        in_force_at=_suppressed(found, [one.phone for one in opt_outs.done]),
        malformed_webhooks=opt_outs.malformed,
        webhook_problems=opt_outs.problems,
        bursts=[overload_of(burst, load.begun_s) for burst in bursts.outcomes],
        attacks=[attacked(one, load.begun_s) for one in attacks.over],
        visits=len(pages.accepted),
        missing_visits=list(missing(pages.accepted, _visits(found, pages.accepted))),
        visit_problems=pages.problems,
    )
    found_gates = gates(seen, classes_for(plan.brokers), plan.each_min, plan.accepted_per_s_min)
    ok = all(gate.ok for gate in found_gates)
    return Outcome(
        ok=ok,
        seed=plan.seed,
        duration_s=plan.duration_s,
        gates=found_gates,
        faults=counts_by_class(events),
        events=events,
        violations=watcher.violations,
        accepted=tally.accepted
        + sum(len(burst.accepted_ids) for burst in bursts.outcomes)
        + sum(len(attack.accepted_ids) for attack in attacks.over),
        retries=tally.retries,
        drained_s=drained_s,
        report=report,
        histories={} if ok else _histories(found, seen),
    )


def _inject_all(plan: Plan, injector: Injector, began_s: float, progress: Progress) -> list[Event]:
    """Inject every fault at its time; return once the last is over."""

    def one(fault: Fault) -> Event:
        begun_s = time.monotonic() - began_s
        progress(f"{begun_s:6.1f} s  {fault.kind} {fault.target} {fault.duration_s:.1f} s")
        failed, done = "", Done("")
        try:
            done = injector.inject(fault)
        except Exception as error:
            # A fault that fails must not end the run: the gate of the counts reports it.
            failed = f"{type(error).__name__}: {error}"
        ended_s = time.monotonic() - began_s
        progress(f"{ended_s:6.1f} s  over: {fault.kind} {fault.target} {done.note}{failed}")
        return Event(fault, round(begun_s, 2), round(ended_s, 2), done.note, failed, done.calls)

    with ThreadPoolExecutor(FAULTS_AT_ONCE_MAX, "fault") as pool:
        doing: list[Future[Event]] = []
        for fault in plan.scheduled:
            time.sleep(max(0.0, began_s + fault.at_s - time.monotonic()))
            doing.append(pool.submit(one, fault))
        return [future.result() for future in doing]


def _attack(subject: Subject, attacks: Attacks, load: Load, lasts_s: float) -> str:
    """Raises DidNotHappen if not every attacker was blocked."""
    siege = subject.background.do(attacks.one(lasts_s))
    subject.background.call(load.take, siege.accepted_ids, siege.accepted_in_s)
    if not siege.all_are_blocked:
        raise DidNotHappen(siege.note())
    return siege.note()


def attacked(siege: Siege, load_began_s: float) -> Attacked:
    return Attacked(
        begun_s=siege.begun_s - load_began_s,
        ended_s=siege.ended_s - load_began_s,
        blocked=sum(at_s is not None for at_s in siege.blocked_after_s.values()),
        attackers=len(siege.blocked_after_s),
        honest_offered=siege.honest_offered,
        honest_accepted=siege.honest_accepted,
        honest_problems=siege.honest_problems,
    )


def overload_of(burst: Burst, load_began_s: float) -> Overload:
    return Overload(
        begun_s=burst.begun_s - load_began_s,
        ended_s=burst.ended_s - load_began_s,
        offered=burst.offered,
        shed=burst.shed,
        unanswered=burst.unanswered,
        problems=burst.problems,
    )


async def _set(stop: asyncio.Event) -> None:
    stop.set()


def once(progress: Progress) -> Progress:
    """Return a progress function that omits immediate repeats."""
    last = ""

    def changed(line: str) -> None:
        nonlocal last
        if line != last:
            last = line
            progress(line)

    return changed


def _calls(found: Deployment) -> list[Call]:
    with suppress(NoRecord):
        return list(ProviderRecord(found.settings).more())
    return []


def _ambiguous(found: Deployment) -> dict[str, str]:
    query = "SELECT delivery_id::text, attempt_id::text FROM deliveries WHERE state = 'ambiguous'"
    with psycopg.connect(found.settings.database_url) as connection:
        return dict(connection.execute(query).fetchall())


def _attempts(found: Deployment, began_at: float) -> dict[str, Attempt]:
    query = """
    SELECT attempt_id::text, extract(epoch FROM called_at)::float8, extract(epoch FROM finished_at)::float8
    FROM delivery_attempts
    """
    with psycopg.connect(found.settings.database_url) as connection:
        return {
            attempt_id: Attempt(called_at - began_at, None if finished_at is None else finished_at - began_at)
            for attempt_id, called_at, finished_at in connection.execute(query)
        }


def _suppressed(found: Deployment, phones: Iterable[str]) -> dict[str, float]:
    """Return phone -> when the suppression was written, seconds since the epoch."""
    query = """
    SELECT contact_id, extract(epoch FROM created_at)::float8 FROM suppressions
    WHERE tenant_id = %s AND NOT lifted
    """
    with psycopg.connect(found.settings.database_url) as connection:
        at: dict[str, float] = dict(connection.execute(query, [scene.TENANT_ID]).fetchall())
    key = found.settings.contact_key
    contacts = {phone: contact_id(key, scene.TENANT_ID, phone) for phone in phones}
    return {phone: at[contact] for phone, contact in contacts.items() if contact in at}


def _visits(found: Deployment, wanted: Iterable[str]) -> dict[str, set[str]]:
    """Return visit -> the states of its rows."""
    query = "SELECT visit_id::text, state FROM visits WHERE visit_id = ANY(%s::uuid[])"
    states: defaultdict[str, set[str]] = defaultdict(set)
    with psycopg.connect(found.settings.database_url) as connection:
        for visit_id, state in connection.execute(query, [list(wanted)]):
            states[visit_id].add(state)
    return states


def _dead_letters(found: Deployment) -> list[Position]:
    query = "SELECT DISTINCT source_topic, source_partition, source_offset FROM dead_letters"
    with psycopg.connect(found.settings.database_url) as connection:
        return [(topic, partition, offset) for topic, partition, offset in connection.execute(query)]


def _histories(found: Deployment, seen: Seen) -> dict[str, list[str]]:
    """Return the histories of a few ids that broke a gate."""
    named = [example.split()[0] for breach in seen.report.breaches for example in breach.examples]
    wanted = dict.fromkeys([*completion_ids(list(seen.violations)), *named, *seen.ambiguous])
    histories: dict[str, list[str]] = {}
    for one in wanted:
        if len(histories) == EXPLAINED_MAX:
            break
        with suppress(explain.BadId, explain.NothingKnown):
            histories[one] = [
                f"{explain.time_text(moment.at)} {moment.where}: {moment.what} "
                f"{msgspec.json.encode(moment.detail).decode()}"
                for moment in explain.explain(found, one)
            ]
    return histories


def fresh_home(parent: Path, seed: int) -> Home:
    """Return an empty folder. Raises CannotStart if an earlier run still uses it."""
    home = Home(parent / "chaos" / f"seed-{seed}")
    home.remove()
    return home
