"""Webhooks of the WhatsApp Cloud API, verified by signature and read tolerantly: an odd part costs itself."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sinks.actions import Suppress
from sinks.tolerant_json import decoded
from sinks.webhook import (
    RECEIVED,
    AccountOfNumber,
    Inbound,
    NotAWebhook,
    Notice,
    Secrets,
    Status,
    Webhook,
    WebhookRequest,
)
from sinks.whatsapp.meta_cloud.codes import action_of
from sinks.whatsapp.meta_cloud.notices import account_of, bounded, digits, notice_of
from sinks.whatsapp.meta_cloud.parts import (
    CONTACT_IDS,
    ERRORS_MAX,
    ID_CHARS_MAX,
    Beside,
    change_of_id,
    error_of,
    ids_of,
    message_of,
    objects,
    preference_of,
    status_of,
    text_of,
    time_ms,
)
from sinks.whatsapp.meta_cloud.past import past_message

ACCOUNT_CHARS_MAX = 64
CHALLENGE_CHARS_MAX = 256
NOTICES_MAX = 1_000  # of one body that are stored: what the provider puts into one at most
MESSAGE_FIELDS = frozenset({"messages", "user_preferences", "user_id_update", ""})
HISTORY = "history"
MESSAGE_PARTS = ("statuses", "messages", "user_preferences", "user_id_update")
_SIGNATURE_HEADER = b"x-hub-signature-256"
_SIGNATURE = b"sha256="


class CloudApiWebhooks:
    """Bodies signed with the app's secret, and a handshake when the address is registered."""

    provider = "meta-cloud"
    signing_variable = "WHATSAPP_APP_SECRET"
    verify_token_variable = "WHATSAPP_VERIFY_TOKEN"
    acknowledgement = RECEIVED

    def handshake(self, query: Mapping[str, str], secrets: Secrets) -> str | None:
        token = query.get("hub.verify_token", "").encode("utf-8", "replace")
        agreed = hmac.compare_digest(token, secrets.verify_token.encode())
        challenge = query.get("hub.challenge", "")
        if query.get("hub.mode") != "subscribe" or not agreed or len(challenge) > CHALLENGE_CHARS_MAX:
            return None
        return challenge

    def is_genuine(self, request: WebhookRequest, secrets: Secrets) -> bool:
        expected = _SIGNATURE + hmac.new(secrets.signing, request.body, hashlib.sha256).hexdigest().encode()
        return hmac.compare_digest(expected, request.headers.get(_SIGNATURE_HEADER, b"").strip().lower())

    def stored(self, request: WebhookRequest) -> bytes:
        return request.body

    def account_of(self, body: bytes) -> str | None:
        """The number, else the business account, that the first entry is about."""
        try:
            entry = decoded(body)["entry"][0]
        except (ValueError, LookupError, TypeError):
            return None
        for account in (_number_of(entry), _at(entry, "id")):
            if isinstance(account, str) and 0 < len(account) <= ACCOUNT_CHARS_MAX and account.isalnum():
                return account
        return None

    def parse(self, body: bytes, received_at_ms: int, account: str = "") -> Webhook:
        return parse(body, received_at_ms)

    def is_opt_out(self, code: str) -> bool:
        return code.isdecimal() and isinstance(action_of(int(code), None), Suppress)


SOURCE = CloudApiWebhooks()


def _number_of(entry: Any) -> Any:
    return _at(_at(_at(_at(_at(entry, "changes"), 0), "value"), "metadata"), "phone_number_id")


def _at(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (LookupError, TypeError):
        return None


def parse(body: bytes, received_at_ms: int) -> Webhook:
    """Raises `NotAWebhook` for what is no JSON object with entries, and for nothing else."""
    try:
        envelope = decoded(body)
    except ValueError:
        raise NotAWebhook("the webhook's body is not JSON") from None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("entry"), list):
        raise NotAWebhook("the webhook's body has no list of entries")
    parts = _Parts(received_at_ms)
    for change in _changes(envelope, parts):
        parts.take(change)
    return parts.webhook()


class _Change(NamedTuple):
    """One change of an entry. `account_id` and `number_id` are empty where it does not state them."""

    field: str
    value: dict[str, Any]
    entry: dict[str, Any]
    account_id: str
    number_id: str
    phone: str


class _Parts:
    """What the changes of one body report."""

    def __init__(self, received_at_ms: int) -> None:
        self._received_at_ms = received_at_ms
        self._statuses: list[Status] = []
        self._inbound: list[Inbound] = []
        self._notices: list[Notice] = []
        self._accounts: dict[AccountOfNumber, None] = {}
        self.odd = 0  # parts that could not be read

    def take(self, change: _Change) -> None:
        field, value, at_ms = change.field, change.value, self._received_at_ms
        if change.number_id and change.account_id:
            account = AccountOfNumber(change.account_id, change.number_id[:ID_CHARS_MAX], change.phone)
            self._accounts[account] = None
        is_past = field == HISTORY
        if is_past:
            self._take_past(change)
        said = [self._listed(value, key) for key in MESSAGE_PARTS]
        contacts = [ids_of(part, CONTACT_IDS) for part in self._listed(value, "contacts")]
        beside = Beside(contacts, sum(map(len, said)) == 1)
        for part in said[0]:
            self._take_status(field, part)
        for part in () if is_past else said[1]:
            self._inbound.append(message_of(part, beside, change.number_id, at_ms))
        for part in said[2]:
            self._inbound.append(preference_of(part, beside, change.number_id, at_ms))
        for part in said[3]:
            self._inbound.append(change_of_id(part, beside, change.number_id, at_ms))
        if field not in MESSAGE_FIELDS or not any(key in value for key in (*MESSAGE_PARTS, "errors")):
            stated_ms = min(time_ms(change.entry.get("time"), at_ms), at_ms)
            self._notices.append(notice_of(field, value, change.account_id, stated_ms))
        self._notices += _errors(value, change.number_id, change.account_id, at_ms)

    def webhook(self) -> Webhook:
        notices, over = bounded(self._notices, NOTICES_MAX)
        return Webhook(
            SOURCE.provider,
            tuple(self._statuses),
            tuple(self._inbound),
            self.odd,
            notices,
            tuple(self._accounts),
            over,
        )

    def _listed(self, value: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
        """The objects of a list; whatever else is there is odd."""
        found = value.get(key)
        listed = objects(found)
        if found is not None:
            self.odd += len(found) - len(listed) if isinstance(found, list) else 1
        return listed

    def _take_status(self, field: str, part: Mapping[str, Any]) -> None:
        if part.get("type") == "call":  # of a call, not of a message
            if field in MESSAGE_FIELDS:
                self._notices.append(Notice("calls", at_ms=self._received_at_ms))
            return
        status = status_of(part, self._received_at_ms)
        if status is None:
            self.odd += 1
        else:
            self._statuses.append(status)

    def _take_past(self, change: _Change) -> None:
        """Of the messages from before the number was connected, those of people."""
        parts: list[tuple[Mapping[str, Any], str]] = []
        for chunk in self._listed(change.value, HISTORY):
            for thread in self._listed(chunk, "threads"):
                person = text_of(thread.get("id"))
                parts += [(part, person) for part in self._listed(thread, "messages")]
        parts += [(part, "") for part in objects(change.value.get("messages"))]
        for part, person in parts:
            try:
                told = past_message(part, change.number_id, change.phone, person, self._received_at_ms)
            except ValueError:
                self.odd += 1
                continue
            if told is not None:
                self._inbound.append(told)


def _changes(envelope: Mapping[str, Any], parts: _Parts) -> Iterator[_Change]:
    entries = envelope["entry"]
    parts.odd += len(entries) - len(objects(entries))
    for entry in objects(entries):
        changes = entry.get("changes")
        if not isinstance(changes, list):
            parts.odd += 1
            continue
        for change in changes:
            value = _at(change, "value")
            if not isinstance(value, dict):
                parts.odd += 1
                continue
            metadata = value.get("metadata")
            metadata = metadata if isinstance(metadata, dict) else {}
            yield _Change(
                text_of(change.get("field")),
                value,
                entry,
                account_of({}, text_of(entry.get("id"))),
                text_of(metadata.get("phone_number_id")),
                digits(metadata.get("display_phone_number")),
            )


def _errors(
    value: Mapping[str, Any], number_id: str, account_id: str, received_at_ms: int
) -> Iterator[Notice]:
    """Errors that are of no message."""
    errors = map(error_of, objects(value.get("errors"))[:ERRORS_MAX])
    if codes := tuple(error.code for error in errors if error.code):
        yield Notice(
            "errors",
            codes=codes,
            number_id=number_id,
            at_ms=received_at_ms,
            account_id=account_id,
            detail=" ".join(codes),
            stored=True,
        )
