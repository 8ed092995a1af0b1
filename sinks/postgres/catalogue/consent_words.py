"""A tenant's own words for opting out and in, beside the built-in ones (`sinks/delivery/people/words.py`)."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, NamedTuple, cast

from sinks.postgres.audit_log import record_of
from sinks.postgres.catalogue.rejections import UnknownTenant
from sinks.postgres.catalogue.suppressions import QUERIES, SuppressionRejected
from sinks.postgres.catalogue.tenants import tenant_exists
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch

WORDS_MAX = 200  # of a tenant
PHRASE_CHARS_MAX = 60
_LANGUAGE = re.compile(r"[a-z]{2}(_[A-Z]{2})?")


class Word(NamedTuple):
    language: str
    phrase: str
    consent: str


def add_word(
    connection: Connection,
    actor: str,
    tenant_id: str,
    language: str,
    phrase: str,
    consent: Literal["stop", "resume"],
) -> bool:
    """Returns whether it changed. Raises UnknownTenant, or SuppressionRejected for what is no word."""
    given = _given(tenant_id, language, phrase) | {"consent": consent}
    with connection.transaction():
        if not tenant_exists(connection, tenant_id):
            raise UnknownTenant(tenant_id)
        row = connection.execute(QUERIES["count_words"], given).fetchone()
        if row is not None and cast(int, row[0]) >= WORDS_MAX:
            raise SuppressionRejected(
                tenant_id, [f"the tenant has {WORDS_MAX} words already; remove one first"]
            )
        changed = connection.execute(QUERIES["save_word"], given).rowcount == 1
        if changed:
            detail = {"language": language, "consent": consent}
            record_of(connection, tenant_id, actor, "consent-word.add", tenant_id, **detail)
    return changed


def remove_word(connection: Connection, actor: str, tenant_id: str, language: str, phrase: str) -> bool:
    """Returns whether it was there."""
    with connection.transaction():
        given = _given(tenant_id, language, phrase)
        removed = connection.execute(QUERIES["delete_word"], given).rowcount == 1
        if removed:
            record_of(connection, tenant_id, actor, "consent-word.remove", tenant_id, language=language)
    return removed


def list_words(connection: Connection, tenant_id: str) -> list[Word]:
    return fetch(connection, QUERIES["list_words"], Word, [tenant_id])


def _given(tenant_id: str, language: str, phrase: str) -> dict[str, str]:
    plain = " ".join(unicodedata.normalize("NFC", phrase).casefold().split())
    problems = []
    if _LANGUAGE.fullmatch(language) is None:
        problems.append("the language is not a code such as pt or pt_BR")
    if len(plain) > PHRASE_CHARS_MAX or not any(char.isalnum() for char in plain):
        problems.append(f"the phrase has no letter or digit, or more than {PHRASE_CHARS_MAX} characters")
    if problems:
        raise SuppressionRejected(tenant_id, problems)
    return {"tenant": tenant_id, "language": language, "phrase": plain}
