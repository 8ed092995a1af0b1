"""A sender's world of one test: a database with deliveries, a simulator, and senders in processes of their
own.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import msgspec
import psycopg
import yaml

from pipeline.runtime.crash_points import VARIABLE as CRASH_POINTS
from pipeline.runtime.ports import Ports
from schemas.ids import delivery_id
from schemas.records import Campaign, Channel, Message, Variable
from sinks.postgres.schema.migrate import migrate
from tests.support.forked import Forked, start
from tests.support.ports import free_ports

CHECKOUT = Path(__file__).resolve().parents[2]
MONTH = date(2026, 3, 1)
TENANT = "acme"
NUMBER = "551100000001"
POLL_S = 0.05  # each look is a query
GIVE_UP_S = 240.0  # of waiting for what must come: far longer than it takes
# Nobody has written to these numbers: a template of the simulated account (ops/simulator/templates.yaml).
HELLO = Message(
    kind="template",
    template="ola",
    language="pt_BR",
    variables=[Variable("name", "contact.name", fallback="you")],
)

# Short enough for a test to see leases run out; nothing is asserted about how long anything takes.
FAST: dict[str, Any] = {
    "lease_s": 4,
    "number_lease_s": 3,
    "call_timeout_s": 2,
    "mark_to_call_max_ms": 1000,
    "retry_base_s": 0.05,
    "retry_max_s": 0.2,
    "poll_ms": 20,
    "lookup_after_s": 0.2,
    "publish_before_call": False,  # nobody publishes the outbox here
}


Process = subprocess.Popen[bytes] | Forked


def started(module: str, env: dict[str, str], log: IO[bytes]) -> Process:
    """Crash points are read with the imports: a process with some makes its own."""
    if CRASH_POINTS in env:
        argv = [sys.executable, "-m", module]
        return subprocess.Popen(argv, cwd=CHECKOUT, env=env, stdout=log, stderr=subprocess.STDOUT)
    return start(module, (), env, log, log, cwd=CHECKOUT)


class World:
    def __init__(self, database_url: str, folder: Path) -> None:
        self.database_url = database_url
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self._folder = folder
        self._base = free_ports().base
        self._processes: list[Process] = []
        self._channels: dict[str, str] = {}  # of campaigns
        self.metrics_port = 0  # of the sender that was started last
        self.remembered: dict[str, Any] = {}
        migrate(database_url)
        self.db = psycopg.connect(database_url, autocommit=True)
        self.db.execute("CREATE TABLE deliveries_of_test PARTITION OF deliveries DEFAULT")
        self.tenant(TENANT)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_error: object) -> None:
        """Ends every process that it started."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.db.close()

    # What is in the ledger

    def tenant(self, tenant_id: str) -> None:
        self.db.execute("INSERT INTO tenants (tenant_id, name) VALUES (%s, %s)", [tenant_id, tenant_id])

    def number(self, number_id: str = NUMBER, tenant_id: str = TENANT, **more: Any) -> str:
        columns = {
            "number_id": number_id,
            "tenant_id": tenant_id,
            "provider": "meta-cloud",
            "base_url": self.simulator_url,
            "credential": "WHATSAPP_ACCESS_TOKEN",
            # A session number is not new here: what is tested is not its first day.
            "messages_per_day": None if more.get("provider", "meta-cloud") == "meta-cloud" else 1_000_000,
            **more,
        }
        names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
        self.db.execute(f"INSERT INTO sender_numbers ({names}) VALUES ({places})", list(columns.values()))
        return number_id

    def campaign(
        self, message: Message = HELLO, *, tenant_id: str = TENANT, channel: Channel = "whatsapp"
    ) -> str:
        campaign_id = f"campaign-{uuid4().hex[:8]}"
        definition = Campaign(
            campaign_id=campaign_id,
            version=1,
            tenant_id=tenant_id,
            name=campaign_id,
            quiz_ids=[],
            active=True,
            effective_at=0,
            month=0,
            conditions=[],
            message=message,
            channel=channel,
        )
        self._channels[campaign_id] = channel
        self.db.execute(
            "INSERT INTO campaigns (campaign_id, tenant_id, month) VALUES (%s, %s, %s)",
            [campaign_id, tenant_id, MONTH],
        )
        self.db.execute(
            "INSERT INTO campaign_versions (campaign_id, version, definition, effective_at)"
            " VALUES (%s, 1, %s, now())",
            [campaign_id, msgspec.json.encode(definition).decode()],
        )
        return campaign_id

    def deliveries(
        self,
        campaign_id: str,
        count: int = 1,
        *,
        tenant_id: str = TENANT,
        phone: bool = True,
        contacts: Sequence[str] | None = None,
        **more: Any,
    ) -> list[str]:
        """Waiting deliveries, to new contacts or to those given; returns the contacts."""
        contacts = [uuid4().hex for _ in range(count)] if contacts is None else list(contacts)
        now = datetime.now(UTC)
        # Nobody has the phone of another: a hundred thousand of them would meet at random.
        places = random.Random(contacts[0]).sample(range(10**7, 10**8), len(contacts))
        channel = self._channels.get(campaign_id, "whatsapp")
        columns = {"due_at": now, "created_at": now, "channel": channel, **more}
        with self.db.transaction(), self.db.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO contacts (tenant_id, contact_id, phone, name, email, seen_at)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [
                    (tenant_id, one, *_reached_at(place, phone, channel == "email"), now)
                    for one, place in zip(contacts, places, strict=True)
                ],
            )
            cursor.executemany(
                "INSERT INTO deliveries (campaign_month, campaign_id, contact_id, delivery_id, tenant_id,"
                f" campaign_version, completion_id, completion_day, {', '.join(columns)})"
                f" VALUES (%s, %s, %s, %s, %s, 1, %s, %s, {', '.join(['%s'] * len(columns))})",
                [
                    (
                        MONTH,
                        campaign_id,
                        one,
                        delivery_id(campaign_id, one),
                        tenant_id,
                        uuid4(),
                        MONTH,
                        *columns.values(),
                    )
                    for one in contacts
                ],
            )
        return contacts

    def phone(self, contact_id: str) -> str:
        """As the provider sees it."""
        row = self.db.execute("SELECT phone FROM contacts WHERE contact_id = %s", [contact_id]).fetchone()
        assert row is not None
        return str(row[0]).removeprefix("+")

    def states(self) -> dict[str, int]:
        return dict(self.db.execute("SELECT state, count(*) FROM deliveries GROUP BY state").fetchall())

    def state(self, contact_id: str) -> tuple[str, str]:
        row = self.db.execute(
            "SELECT state, reason FROM deliveries WHERE contact_id = %s", [contact_id]
        ).fetchone()
        assert row is not None
        return row[0], row[1]

    def leased_numbers(self) -> set[str]:
        rows = self.db.execute(
            "SELECT number_id FROM sender_numbers WHERE leased_until > clock_timestamp()"
        ).fetchall()
        return {number for (number,) in rows}

    # Who runs

    @property
    def simulator_url(self) -> str:
        return f"http://127.0.0.1:{self._base + 10}"

    @property
    def simulator_smtp_url(self) -> str:
        return f"smtp://127.0.0.1:{self._base + 11}"

    def env(self, **more: str) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("QUIZSTREAM_")},
            "DATABASE_URL": self.database_url,
            "QUIZSTREAM_HOME": str(self.home),
            "QUIZSTREAM_PORT_BASE": str(self._base),
            "QUIZSTREAM_SIMULATOR_SEED": "1",
            **more,
        }

    def simulator(self) -> Process:
        process = self._start("ops.simulator.server", self.env())
        self.wait_until(lambda: self._answers("/health/live"))
        self.command("PATCH", "behaviour", {"webhooks": False})
        return process

    def sender(
        self,
        crash_points: str = "",
        env: dict[str, str] | None = None,
        module: str = "sinks.delivery.process",
        **settings: Any,
    ) -> Process:
        """A sender with the topology's settings, but fast, and with these changed."""
        topology = yaml.safe_load((CHECKOUT / "topology.yaml").read_text())
        topology["sender"] |= FAST | settings
        file = self._folder / f"topology-{len(self._processes)}.yaml"
        file.write_text(yaml.safe_dump(topology))
        metrics_base = free_ports().base  # several senders side by side
        self.metrics_port = Ports.from_base(metrics_base).sender_metrics
        more = {**(env or {}), "QUIZSTREAM_TOPOLOGY": str(file), "QUIZSTREAM_PORT_BASE": str(metrics_base)}
        if crash_points:
            more[CRASH_POINTS] = crash_points
        return self._start(module, self.env(**more))

    def _start(self, module: str, env: dict[str, str]) -> Process:
        with (self._folder / f"{module}-{len(self._processes)}.log").open("wb") as log:
            process = started(module, env, log)
        self._processes.append(process)
        return process

    # What the provider saw

    def command(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.simulator_url}/simulator/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read()
        return json.loads(text) if text else None

    def writes(self, contact_id: str, number: str = NUMBER, text: str = "oi") -> None:
        """The contact writes to the number: for a day it may send them more than templates."""
        self.command("POST", "inbound", {"number": number, "sender": self.phone(contact_id), "text": text})

    def approve(self, template: str, *, language: str = "pt_BR", parameters: int = 0) -> None:
        """The provider approves a template of the account."""
        given = {"name": template, "language": language, "parameters": parameters}
        self.command("POST", "templates", given)

    def rule(self, do: str, **more: Any) -> None:
        self.command("POST", "rules", {"do": do, **more})

    def calls(self) -> list[dict[str, Any]]:
        file = self.home / "simulator" / "calls.jsonl"
        return [
            json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")
        ]

    def taken_by_recipient(self) -> Counter[str]:
        return Counter(call["to"] for call in self.calls() if call["wamid"] is not None)

    # Waiting

    def wait_until(self, holds: Callable[[], bool], give_up_s: float = GIVE_UP_S) -> None:
        deadline = time.monotonic() + give_up_s
        while not holds():
            assert time.monotonic() < deadline, f"gave up; the ledger: {self.states()}"
            for process in self._processes:
                process.poll()
            time.sleep(POLL_S)

    def wait_for(self, **states: int) -> None:
        """Until the ledger's states are exactly these."""
        self.wait_until(lambda: self.states() == states)

    def wait_for_more_calls(self) -> None:
        """Until there is one more, or nothing is left to call for."""
        calls = len(self.calls())
        self.wait_until(lambda: len(self.calls()) > calls or set(self.states()) <= {"sent"})

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(self.simulator_url + path, timeout=1):
                return True
        except OSError:
            return False


def email_of(phone: str) -> str:
    """The e-mail address of the contact with this phone."""
    return f"{phone.removeprefix('+')}@person.example"


def _reached_at(place: int, has_phone: bool, has_email: bool) -> tuple[str | None, None, str | None]:
    """Phone, name and e-mail address."""
    phone = f"+55119{place}"
    return (phone if has_phone else None), None, (email_of(phone) if has_email else None)
