"""The part of the demo that other providers and channels send, and the table of what each number has sent."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from ops.audit.provider_record import Call
from ops.deployment.seed import SEEDS, seed
from ops.locate import Deployment
from sinks.postgres.connect import connect
from sinks.postgres.named_rows import fetch

BY_EMAIL = "escola"
QUIZZES = {"sessao": "UAZAPI and Evolution API", "academia": "Twilio (SMS)", BY_EMAIL: "SMTP (e-mail)"}
ROWS = 200  # of the source table
FOLDERS = (SEEDS / "uazapi", SEEDS / "channels")
SENT_BY_NUMBER = """
SELECT n.number_id, n.tenant_id, n.provider,
       count(a.attempt_id) FILTER (WHERE a.outcome = 'sent') AS sent, 0 AS accepted
FROM sender_numbers AS n
LEFT JOIN delivery_attempts AS a USING (number_id)
GROUP BY n.number_id, n.tenant_id, n.provider
ORDER BY n.provider, n.number_id
"""


class Sent(NamedTuple):
    """`sent` by the ledger, `accepted` by the record of the provider."""

    number_id: str
    tenant_id: str
    provider: str
    sent: int
    accepted: int


def plant(found: Deployment) -> int:
    """Create tenants, quizzes, numbers and campaigns; return when the campaigns are in force, in ms."""
    return max(seed(found, folder) for folder in FOLDERS)


def first_rows(source: Path, folder: Path, quiz_id: str) -> Path:
    """The head of a CSV file, as a file of its own."""
    target = folder / f"{quiz_id}.csv"
    with source.open(encoding="utf-8") as lines:
        target.write_text("".join(islice(lines, ROWS + 1)), encoding="utf-8")
    return target


def sent_by_number(found: Deployment, calls: list[Call]) -> list[Sent]:
    accepted = Counter((call.provider, call.number) for call in calls if call.wamid is not None)
    with connect(found.settings.database_url, "demo") as connection:
        rows = fetch(connection, SENT_BY_NUMBER, Sent)
    return [row._replace(accepted=accepted[row.provider, row.number_id]) for row in rows]


def rendered(rows: list[Sent]) -> Table:
    table = Table(title="Sent, by number", title_justify="left")
    for name in ("provider", "number", "tenant"):
        table.add_column(name, no_wrap=True)
    table.add_column("sent", justify="right")
    table.add_column("accepted by the provider", justify="right")
    for row in rows:
        table.add_row(row.provider, row.number_id, row.tenant_id, f"{row.sent:,}", f"{row.accepted:,}")
    return table
