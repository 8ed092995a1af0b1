"""What holds for the answers and webhooks of every provider: registered is enough to be checked here."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks import providers
from sinks.connection import Endpoint, Lines, NoReply, NothingWritten, Reply
from sinks.outcomes import CODE_CHARS_MAX, Ambiguous, NotCalled, NotWritten, Rejected, Sent
from sinks.provider import CredentialMissing
from sinks.webhook import NotAWebhook, Secrets, WebhookRequest

every_provider = pytest.mark.parametrize("name", providers.names())
of_http = pytest.mark.parametrize(
    "name", [name for name in providers.names() if "https" in providers.provider_named(name).url_schemes]
)
FIELDS = (
    *("error", "code", "message", "messages", "id", "messageid", "status", "type", "event", "entry"),
    *("EventType", "changes", "value", "statuses", "chatid", "MessageIDs", "owner", "instance"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(FIELDS) | st.text(max_size=8),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)
BODIES = st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode())


@every_provider
def test_only_what_was_not_written_is_certain_without_an_answer(name: str) -> None:
    outcome_of = providers.provider_named(name).outcome_of
    assert isinstance(outcome_of(NothingWritten("closed")), NotWritten)
    assert isinstance(outcome_of(NothingWritten("late", too_late=True)), NotCalled)
    assert isinstance(outcome_of(NoReply("time-out")), Ambiguous)


@of_http
@pytest.mark.parametrize("status", [200, 201, 204, 303, 400, 408, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", b"<html>gateway</html>", b"{}", b"[]", b'"text"', b"null"])
def test_an_answer_that_is_not_the_apis_own_proves_nothing(name: str, status: int, body: bytes) -> None:
    assert isinstance(providers.provider_named(name).outcome_of(Reply(status, body)), Ambiguous)


@of_http
@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 404, 429])
def test_what_did_not_reach_the_api_was_not_sent(name: str, status: int) -> None:
    outcome = providers.provider_named(name).outcome_of(Reply(status, b"", {"retry-after": "9"}))
    assert isinstance(outcome, Rejected)
    assert outcome.retry_after_s == 9


@every_provider
@given(status=st.integers(100, 599), body=BODIES)
def test_no_answer_breaks_the_classification(name: str, status: int, body: bytes) -> None:
    provider = providers.provider_named(name)
    outcome = provider.outcome_of(Reply(status, body))
    assert isinstance(outcome, Sent | Rejected | Ambiguous)
    match outcome:
        case Rejected(code=code, listed=listed):
            assert len(code) <= CODE_CHARS_MAX
            assert listed or code
        case Sent(message_id):
            assert message_id
            assert status < 300


@every_provider
@given(code=st.text(max_size=40), status=st.none() | st.integers(100, 599))
def test_any_code_has_an_action_or_none(name: str, code: str, status: int | None) -> None:
    providers.provider_named(name).action_of(code, status)


@every_provider
@pytest.mark.parametrize("secret", ["", "sp ace", "line\r\nX-Header: 1", "\x00", "ü"])
def test_a_secret_that_cannot_be_used_is_refused_and_not_shown(name: str, secret: str) -> None:
    lines = Lines(Endpoint.parse("http://127.0.0.1:1"), time.monotonic, idle_max=1)
    with pytest.raises(CredentialMissing) as caught:
        providers.provider_named(name).open("5511", secret, lines)
    assert not secret or secret not in str(caught.value)


@every_provider
@given(body=BODIES)
def test_a_hostile_webhook_is_no_webhook_or_is_read(name: str, body: bytes) -> None:
    source = providers.webhooks_of(name)
    account = source.account_of(body)
    assert account is None or 0 < len(account) <= 128
    stored = source.stored(WebhookRequest({}, {}, body))
    with contextlib.suppress(NotAWebhook):
        assert source.parse(stored, 1_785_900_000_000).provider == name
    with contextlib.suppress(NotAWebhook):
        source.parse(body, 1_785_900_000_000)


@every_provider
@given(
    body=st.binary(max_size=100),
    key=st.text(max_size=20),
    header=st.binary(max_size=80),
)
def test_a_body_without_the_secret_is_not_genuine(name: str, body: bytes, key: str, header: bytes) -> None:
    source = providers.webhooks_of(name)
    headers = {b"x-hub-signature-256": header, b"authorization": header, b"token": header}
    query = {"key": key, "token": key, "hub.mode": "subscribe", "hub.verify_token": key, "hub.challenge": "1"}
    secrets = Secrets(b"a secret of the test that nobody guesses", "and another one")
    assert not source.is_genuine(WebhookRequest(headers, query, body), secrets)
    assert source.handshake(query, secrets) is None
    assert "secret of the test" not in repr(secrets)
