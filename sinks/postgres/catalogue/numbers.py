"""Sender numbers: which provider they belong to, at which address, with the secret of which name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from schemas.records import EVERY_TENANT
from sinks import providers
from sinks.postgres.catalogue.rejections import Rejection
from sinks.postgres.catalogue.tenants import tenant_exists
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries
from sinks.provider import KINDS, Provider

QUERIES = load_queries(Path(__file__).with_name("numbers.sql"))
ID = re.compile(r"[A-Za-z0-9+][A-Za-z0-9._@+-]{0,127}")
BAD_ID = "its id must be letters, digits, '.', '_', '-', '+' and '@', at most 128"
CREDENTIAL = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
# What was given is not shown: it may be the secret itself.
BAD_CREDENTIAL = "its credential must be the NAME of an environment variable, such as ACME_TOKEN"
MESSAGES_PER_S_MAX = 10_000
# Weights of numbers without a pace of their own: about the messages a minute of their kind (topology.yaml).
API_WEIGHT = 4_800
SESSION_WEIGHT = 20
MESSAGES_PER_MINUTE_MAX = 60 * MESSAGES_PER_S_MAX
MESSAGES_PER_DAY_MAX = 1_000_000


class NumberDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sending number. `credential` is the NAME of the environment variable that holds the access token."""

    number_id: str
    tenant_id: str
    provider: str
    base_url: str
    credential: str
    messages_per_s: int | None = None
    messages_per_minute: int | None = None  # for a slow number; it wins over messages_per_s
    messages_per_day: int | None = None  # of a session, instead of the growing limit of topology.yaml
    coexistence: bool = False  # the WhatsApp Business app uses the number too: another pace of topology.yaml


class NumberRejected(Rejection):
    """The number cannot be saved."""


class UnknownNumber(Rejection):
    """There is no such number."""

    def __init__(self, number_id: str) -> None:
        super().__init__(number_id, ["there is no such number"])


class Number(NamedTuple):
    """`leased`: a sender process holds it now. `stopped`: a stop of this number's own is in force.
    `share_percent`: of the tenant's contacts on the channel, by its weight. `paused_until`: the end of a
    limit of the provider; None where there is none. `provider_limit`: what the provider reported last about
    the number's limit and quality, `people_max` its limit of people in 24 h.
    """

    number_id: str
    tenant_id: str
    provider: str
    base_url: str
    credential: str
    messages_per_s: int | None
    messages_per_minute: int | None
    state: str
    reason: str
    stopped: bool
    leased: bool
    paused_until: datetime | None
    created_at: datetime
    account_id: str | None
    provider_limit: str | None
    channel: str
    weight: int
    share_percent: float
    portfolio_id: str | None
    people_max: int | None
    messages_per_day: int | None
    coexistence: bool


def save_number(connection: Connection, draft: NumberDraft) -> bool:
    """Makes or changes a sending number; its lease and state stay. Returns whether anything changed.

    Raises `NumberRejected` with every problem found: an unknown provider or tenant, an address that is not a
    plain http(s) URL, a credential that is not the name of an environment variable.
    """
    problems = _problems(draft)
    if draft.tenant_id != EVERY_TENANT and not tenant_exists(connection, draft.tenant_id):
        problems.append(f'there is no tenant "{draft.tenant_id}"')
    if problems:
        raise NumberRejected(draft.number_id, problems)
    provider = providers.provider_named(draft.provider)
    parameters = {
        "number": draft.number_id,
        "tenant": draft.tenant_id,
        "provider": draft.provider,
        "base_url": draft.base_url,
        "credential": draft.credential,
        "messages_per_s": draft.messages_per_s,
        "messages_per_minute": draft.messages_per_minute,
        "messages_per_day": draft.messages_per_day,
        "coexistence": draft.coexistence,
        "channel": provider.channel,
        "kinds": [kind for kind in KINDS if provider.limits.carries(kind)],
        "weight": _weight(draft, provider),
    }
    return connection.execute(QUERIES["save_number"], parameters).rowcount == 1


def _weight(draft: NumberDraft, provider: Provider) -> int:
    """Of a new number, by its pace: so the queues of a tenant's numbers end at about the same time."""
    if draft.messages_per_minute is not None:
        return draft.messages_per_minute
    if draft.messages_per_s is not None:
        return 60 * draft.messages_per_s
    return SESSION_WEIGHT if provider.is_session else API_WEIGHT


def list_numbers(
    connection: Connection, *, limit: int, after: str | None = None, tenant_id: str | None = None
) -> Page[Number]:
    """By id; `after` is the cursor of the page before."""
    parameters = {"after": after or "", "tenant": tenant_id, "limit": limit + 1}
    found = fetch(connection, QUERIES["list_numbers"], Number, parameters)
    return page_of(found, limit, lambda number: number.number_id)


def get_number(connection: Connection, number_id: str) -> Number:
    """Raises `UnknownNumber`."""
    found = fetch(connection, QUERIES["get_number"], Number, {"number_id": number_id})
    if not found:
        raise UnknownNumber(number_id)
    return found[0]


def save_credential(connection: Connection, number_id: str, credential: str) -> bool:
    """Returns whether it changed. Raises `UnknownNumber` and `NumberRejected`."""
    if not CREDENTIAL.fullmatch(credential):
        raise NumberRejected(number_id, [BAD_CREDENTIAL])
    if not number_exists(connection, number_id):
        raise UnknownNumber(number_id)
    given = {"number_id": number_id, "credential": credential}
    return connection.execute(QUERIES["save_credential"], given).rowcount == 1


def number_exists(connection: Connection, number_id: str) -> bool:
    return connection.execute(QUERIES["number_exists"], [number_id]).fetchone() is not None


def number_of_tenant(connection: Connection, number_id: str, tenant_id: str) -> bool:
    return connection.execute(QUERIES["number_of_tenant"], [number_id, tenant_id]).fetchone() is not None


def _problems(draft: NumberDraft) -> list[str]:
    problems = []
    if not ID.fullmatch(draft.number_id):
        problems.append(BAD_ID)
    if draft.provider not in providers.names():
        problems.append(f'there is no provider "{draft.provider}": one of {", ".join(providers.names())}')
    elif problem := _url_problem(draft.base_url, providers.provider_named(draft.provider).url_schemes):
        problems.append(problem)
    if not CREDENTIAL.fullmatch(draft.credential):
        problems.append(BAD_CREDENTIAL)
    if draft.messages_per_s is not None and not 1 <= draft.messages_per_s <= MESSAGES_PER_S_MAX:
        problems.append(f"its pace must lie between 1 and {MESSAGES_PER_S_MAX} messages a second")
    per_minute = draft.messages_per_minute
    if per_minute is not None and not 1 <= per_minute <= MESSAGES_PER_MINUTE_MAX:
        problems.append(f"its pace must lie between 1 and {MESSAGES_PER_MINUTE_MAX} messages a minute")
    per_day = draft.messages_per_day
    if per_day is not None and not 1 <= per_day <= MESSAGES_PER_DAY_MAX:
        problems.append(f"its limit must lie between 1 and {MESSAGES_PER_DAY_MAX} messages a day")
    if draft.provider in providers.names():
        is_session = providers.provider_named(draft.provider).is_session
        if per_day is not None and not is_session:
            problems.append(f"{draft.provider} has no limit of messages a day: see `quizstream number limit`")
        if draft.coexistence and is_session:
            problems.append(f"coexistence is a property of Meta's numbers, not of {draft.provider}")
    return problems


def _url_problem(url: str, schemes: Sequence[str]) -> str | None:
    wanted = f"its address must be {_listed(schemes)} URL without user, query and fragment"
    try:
        parts = urlsplit(url)
        known = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        plain = not (parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        return wanted
    return None if known and plain and url.isprintable() and " " not in url else wanted


def _listed(schemes: Sequence[str]) -> str:
    return "an http(s)" if "http" in schemes else f"an {' or '.join(schemes)}"
