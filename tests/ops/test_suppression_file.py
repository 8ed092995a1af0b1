"""Lists of suppressions as people have them: phones a line, CSV of a spreadsheet, our own export."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ops.suppression_file import SuppressionFileRefused, parse, read_file, write_csv
from schemas.phones import NOT_DIGITS, Rejected
from sinks.postgres.catalogue.operations import add_suppressions, add_tenant
from sinks.postgres.connect import connect

ID = "0123456789abcdef0123456789abcdef"


def contact_of(written: str) -> str | Rejected:
    return f"contact of {written}" if written.strip().isdigit() else NOT_DIGITS


@pytest.mark.parametrize(
    ("content", "contacts"),
    [
        ("11\n\n12\n", ["contact of 11", "contact of 12"]),
        ("phone\n11\n", ["contact of 11"]),
        ("Name;Phone\nAna;11\nBia;12\n", ["contact of 11", "contact of 12"]),
        ('name,phone\n"Silva, Ana",11\n', ["contact of 11"]),
        (f"contact_id,reason,created_at\n{ID},STOP,2026-01-01\n", [ID]),
        (f"contact_id,phone\n{ID},11\n,12\n", [ID, "contact of 12"]),
        ("", []),
    ],
)
def test_each_form_is_read(content: str, contacts: list[str]) -> None:
    assert parse(io.StringIO(content), contact_of) == (contacts, [])


def test_lines_that_hold_no_contact_are_named_without_their_content() -> None:
    parsed = parse(io.StringIO(f"contact_id,phone\n{ID},\nabc,\n,secret\n,11\n"), contact_of)
    assert parsed.contacts == [ID, "contact of 11"]
    assert [line for line, _ in parsed.problems] == [3, 4]
    assert "secret" not in str(parsed.problems)


def test_a_file_that_is_not_text_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    with pytest.raises(SuppressionFileRefused, match="Cannot read"):
        read_file(path, contact_of)
    path.write_bytes("nome;telefone\nJosé".encode("latin-1"))
    with pytest.raises(SuppressionFileRefused, match="is not UTF-8"):
        read_file(path, contact_of)


def test_an_export_is_an_import(database_url: str, tmp_path: Path) -> None:
    with connect(database_url, "test") as connection:
        add_tenant(connection, "ana", "acme", "Acme")
        add_suppressions(connection, "ana", "acme", [ID, ID.replace("0", "f")], "asked, twice")
        for phones in (False, True):
            out = io.StringIO()
            write_csv(connection, "acme", out, phones=phones)
            assert parse(io.StringIO(out.getvalue()), contact_of).contacts == [ID, ID.replace("0", "f")]
            assert ("phone" in out.getvalue()) == phones
