"""Suppressions in a file: a phone a line, or CSV with a column `phone` or `contact_id`."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from pipeline.errors import OperatorError
from schemas.phones import Rejected
from sinks.postgres.catalogue.suppressions import list_suppressions
from sinks.postgres.connect import Connection

COLUMNS = ("contact_id", "phone")
DELIMITERS = ",;\t"
EXPORT_PAGE_ROWS = 1_000
_CONTACT_ID = re.compile(r"[0-9a-f]{32}")

ContactOf = Callable[[str], str | Rejected]


class SuppressionFileRefused(OperatorError):
    """The file cannot be read as a list of suppressions."""


class Parsed(NamedTuple):
    """`problems`: number of the line, and why it names no contact. They show no digit of a phone."""

    contacts: list[str]
    problems: list[tuple[int, str]]


def read_file(path: Path, contact_of: ContactOf) -> Parsed:
    """Raises SuppressionFileRefused for a file that cannot be read as text."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return parse(file, contact_of)
    except OSError as error:
        raise SuppressionFileRefused(f"Cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SuppressionFileRefused(
            f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise SuppressionFileRefused(f"{path} is not CSV: {error}") from error


def parse(lines: Iterable[str], contact_of: ContactOf) -> Parsed:
    """Empty lines are skipped. Of a row with a contact id and a phone the id counts."""
    contacts: list[str] = []
    problems: list[tuple[int, str]] = []
    header: list[str] | None = None
    delimiter = ","
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if header is None:
            delimiter = next((one for one in DELIMITERS if one in line), delimiter)
        row = next(csv.reader([line], delimiter=delimiter))
        if header is None:
            names = [cell.strip().lower() for cell in row]
            header = names if set(names) & set(COLUMNS) else ["phone"]
            if header == names:
                continue
        found = _contact(dict(zip(header, row, strict=False)), contact_of)
        if isinstance(found, Rejected):
            problems.append((number, found.detail))
        else:
            contacts.append(found)
    return Parsed(contacts, problems)


def write_csv(connection: Connection, tenant_id: str, out: TextIO, *, phones: bool) -> None:
    """Every suppression of the tenant, a page at a time. `phones` adds them in full."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["contact_id", *(["phone"] if phones else []), "reason", "created_at"])
    after: str | None = None
    while True:
        page = list_suppressions(connection, tenant_id, limit=EXPORT_PAGE_ROWS, after=after)
        for one in page.items:
            shown: Sequence[str] = [one.phone or ""] if phones else []
            writer.writerow([one.contact_id, *shown, one.reason, one.created_at.isoformat()])
        if page.next is None:
            return
        after = page.next


def _contact(row: dict[str, str], contact_of: ContactOf) -> str | Rejected:
    contact = row.get("contact_id", "").strip().lower()
    if contact:
        return contact if _CONTACT_ID.fullmatch(contact) else Rejected("contact-id", "not a contact id")
    return contact_of(row.get("phone", ""))
