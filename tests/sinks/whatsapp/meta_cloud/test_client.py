"""What is asked of the Cloud API, and what each of its answers is taken to prove."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.campaigns.message import Rendered
from sinks.connection import Endpoint, Lines, NoReply, NothingWritten, Reply
from sinks.http_api import REJECTED_UNREAD
from sinks.outcomes import MESSAGE_ID_CHARS_MAX, Ambiguous, NotCalled, NotWritten, Rejected, Sent
from sinks.provider import CredentialMissing
from sinks.whatsapp.meta_cloud.client import CloudApi, body_of, outcome_of
from sinks.whatsapp.meta_cloud.provider import PROVIDER
from sinks.whatsapp.meta_cloud.webhook import parse


def test_a_text() -> None:
    assert json.loads(body_of("+5547989211984", Rendered("text", text="Olá"), "a-1")) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "5547989211984",
        "type": "text",
        "text": {"body": "Olá", "preview_url": False},
        "biz_opaque_callback_data": "a-1",
    }


def test_a_template_with_its_parameters_in_order() -> None:
    message = Rendered("template", template="welcome", language="pt_BR", parameters=("Zé", "8"))
    assert json.loads(body_of("5547", message, "a-1"))["template"] == {
        "name": "welcome",
        "language": {"code": "pt_BR"},
        "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "Zé"}, {"type": "text", "text": "8"}]}
        ],
    }


def test_a_template_without_parameters_has_no_components() -> None:
    message = Rendered("template", template="welcome", language="pt_BR")
    assert "components" not in json.loads(body_of("5547", message, "a-1"))["template"]


def test_an_image_with_and_without_caption() -> None:
    link = "https://example.com/a.png"
    with_caption = json.loads(body_of("5547", Rendered("image", text="Hi", image_url=link), "a-1"))
    without = json.loads(body_of("5547", Rendered("image", image_url=link), "a-1"))
    assert with_caption["image"] == {"link": link, "caption": "Hi"}
    assert without["image"] == {"link": link}


def refused(code: object, status: int = 400, headers: dict[str, str] | None = None) -> Reply:
    error = {"message": "no", "type": "OAuthException", "code": code, "error_data": {"details": "why"}}
    return Reply(status, json.dumps({"error": error}).encode(), headers or {})


def test_an_accepted_message_is_sent() -> None:
    assert outcome_of(Reply(200, b'{"messages":[{"id":"wamid.1"}]}')) == Sent("wamid.1")


def test_the_answer_names_the_recipient_as_the_provider_does() -> None:
    told = b'{"contacts":[{"wa_id":"554789211984","user_id":7}],"messages":[{"id":"w"}]}'
    assert outcome_of(Reply(200, told)) == Sent("w", ("554789211984",))
    assert outcome_of(Reply(200, b'{"contacts":[{},{}],"messages":[{"id":"w"}]}')) == Sent("w")


@pytest.mark.parametrize("status", [400, 429, 500])
def test_a_listed_refusal_is_one_with_any_http_status(status: int) -> None:
    answer = outcome_of(refused(131056, status))
    assert isinstance(answer, Rejected)
    assert (answer.code, answer.action.name, answer.listed) == ("131056", "wait_for_pair", True)


@pytest.mark.parametrize(
    ("code", "status"),
    [(code, status) for code in (1, 131000, 131016, 2, 133004) for status in (500, 503)]
    + [(999999, 500), (999999, 503), (999999, 200), (999999, 399)],
)
def test_a_code_that_does_not_say_not_sent_is_ambiguous(code: int, status: int) -> None:
    answer = outcome_of(refused(code, status))
    assert isinstance(answer, Ambiguous)
    assert answer.code == str(code)


@pytest.mark.parametrize("code", [1, 131000, 131016, 2, 133004])
@pytest.mark.parametrize("status", [400, 404, 429])
def test_an_error_of_the_providers_own_with_a_4xx_status_is_a_rejection_worth_a_retry(
    code: int, status: int
) -> None:
    answer = outcome_of(refused(code, status))
    assert isinstance(answer, Rejected)
    assert (answer.code, answer.action.name, answer.listed) == (str(code), "retry", True)


# Of the open clients' lists (docs/providers.md), and one that nobody knows.
UNLISTED = [3, 33, 130497, 131021, 131030, 131037, 131044, 131051, 131052, 131062, 131063, 132008, 132018]
UNLISTED += [132069, 133016, 135000, 137000, 987654]


@pytest.mark.parametrize("code", UNLISTED)
def test_a_refusal_with_the_envelope_is_not_sent_whatever_its_code(code: int) -> None:
    answer = outcome_of(refused(code))
    assert isinstance(answer, Rejected)
    assert answer.code == str(code)


@pytest.mark.parametrize("code", ["131056", "131056.0", 131056.0, " 131056 "])
def test_a_code_is_read_as_text_and_as_float(code: object) -> None:
    answer = outcome_of(refused(code))
    assert isinstance(answer, Rejected)
    assert (answer.code, answer.action.name) == ("131056", "wait_for_pair")


@pytest.mark.parametrize("status", [400, 403, 404, 429, 499])
def test_a_code_that_is_not_listed_is_a_refusal_with_a_4xx_status(status: int) -> None:
    answer = outcome_of(refused(999999, status))
    assert isinstance(answer, Rejected)
    assert (answer.code, answer.action.name, answer.listed) == ("999999", "fail_recipient", False)


@pytest.mark.parametrize(
    "error",
    [
        {"code": 404, "message": "no such route"},  # a gateway's own
        {"code": 404, "type": "OAuthException"},
        {"code": 404, "type": 1, "message": "no"},
        {"code": 404},
    ],
)
def test_an_unlisted_code_without_the_whole_envelope_is_ambiguous(error: dict[str, object]) -> None:
    assert isinstance(outcome_of(Reply(400, json.dumps({"error": error}).encode())), Ambiguous)


def test_a_303_answers_a_request_that_was_processed_and_proves_nothing() -> None:
    assert isinstance(outcome_of(Reply(303, b"")), Ambiguous)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 403, 404, 429])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": {"code": null}}', b'{"error": {"code": 7}}'])
def test_a_call_that_was_not_let_through_is_not_sent_and_the_number_pauses(status: int, body: bytes) -> None:
    answer = outcome_of(Reply(status, body, {"retry-after": "30"}))
    assert isinstance(answer, Rejected)
    assert (answer.action.name, answer.retry_after_s, answer.listed) == ("throttle_number", 30, True)


@pytest.mark.parametrize(
    ("asked", "waits_s"),
    [
        ("7", 7),
        ("1.5", 1.5),
        ("999999999", 86_400),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("soon", 0),
        ("-5", 0),
        ("Sun, 99 Nov 1994", 0),
    ],
)
def test_retry_after_is_a_number_or_a_time_and_is_bounded(asked: str, waits_s: float) -> None:
    headers = {"retry-after": asked, "date": "Sun, 06 Nov 1994 08:49:37 GMT"}
    for reply in (Reply(429, b"", headers), refused(130429, 429, headers)):
        answer = outcome_of(reply)
        assert isinstance(answer, Rejected)
        assert answer.retry_after_s == waits_s


def test_a_message_id_is_bounded_and_stays_different_from_others() -> None:
    def sent(message_id: str) -> str:
        answer = outcome_of(Reply(200, json.dumps({"messages": [{"id": message_id}]}).encode()))
        assert isinstance(answer, Sent)
        return answer.provider_message_id

    assert sent("wamid.\x001") == "wamid.1"
    assert sent("wamid.\ud800") == "wamid.?"
    first, second = sent("w" * 5_000 + "1"), sent("w" * 5_000 + "2")
    assert len(first) == MESSAGE_ID_CHARS_MAX
    assert first != second
    assert parse(_status_of("w" * 5_000 + "1"), 0).statuses[0].message_id == first


def _status_of(message_id: str) -> bytes:
    value = {"statuses": [{"id": message_id, "status": "sent"}]}
    return json.dumps({"entry": [{"changes": [{"value": value}]}]}).encode()


def test_the_text_of_an_error_can_be_stored() -> None:
    error = {"message": "no\x00 \ud83d", "type": "OAuthException", "code": 100}
    answer = outcome_of(Reply(400, json.dumps({"error": error}).encode()))
    assert isinstance(answer, Rejected)
    assert answer.detail == "100 invalid parameter: no ?"


def test_the_audit_calls_not_sent_what_the_sender_does() -> None:
    for code in (*range(300), 131000, 131026, 131056, 999999):
        for status in (200, 400, 404, 429, 500):
            refusal = isinstance(outcome_of(refused(code, status)), Rejected)
            assert (PROVIDER.action_of(str(code), status) is not None) == refusal


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500, b""),
        Reply(502, b"<html>Bad Gateway</html>"),
        Reply(503, b"{}"),
        Reply(200, b""),
        Reply(200, b"not JSON"),
        Reply(200, b'{"messages":[]}'),
        Reply(200, b'{"messages":[{"id":""}]}'),
        Reply(200, b'{"messages":[{"id":7}]}'),
        Reply(200, b"[]"),
        Reply(201, b'{"messages":[{"id":"wamid.1"}]}'),
        Reply(400, b"no such path"),
        refused("13x"),
        refused(1.5),
        refused([131056]),
        refused(None),
        refused(True),
    ],
)
def test_an_answer_that_proves_nothing_is_ambiguous(reply: Reply) -> None:
    assert isinstance(outcome_of(reply), Ambiguous)


def test_what_the_line_knows_is_kept() -> None:
    assert isinstance(outcome_of(NoReply("timeout")), Ambiguous)
    assert isinstance(outcome_of(NothingWritten("gone")), NotWritten)
    assert isinstance(outcome_of(NothingWritten("slept", too_late=True)), NotCalled)


@given(st.integers(100, 599), st.binary(max_size=200))
def test_no_answer_whatever_breaks_the_reading(status: int, body: bytes) -> None:
    expected = Rejected if status in REJECTED_UNREAD else Ambiguous
    assert isinstance(outcome_of(Reply(status, body)), expected)


def test_the_provider_may_say_how_long_to_wait() -> None:
    usage = json.dumps({"1": [{"estimated_time_to_regain_access": 3}, {"type": "x"}], "2": "odd"})
    answer = outcome_of(refused(80007, headers={"x-business-use-case-usage": usage}))
    assert isinstance(answer, Rejected)
    assert answer.retry_after_s == 180
    odd = outcome_of(refused(80007, headers={"x-business-use-case-usage": "odd"}))
    assert isinstance(odd, Rejected)
    assert odd.retry_after_s == 0


@pytest.mark.parametrize(
    ("regain", "wait_s"),
    [
        *((told, 0.0) for told in ("-5", "true", '"3"', "null", "NaN", "[9]", "{}")),
        *((told, 86_400.0) for told in ("1e999", "99999999999999999999", "1441")),
        ("0.5", 30.0),
    ],
)
def test_an_odd_wait_is_none_and_a_long_one_is_a_day(regain: str, wait_s: float) -> None:
    usage = '{"1": [{"estimated_time_to_regain_access": ' + regain + "}]}"
    answer = outcome_of(refused(80007, headers={"x-business-use-case-usage": usage}))
    assert isinstance(answer, Rejected)
    assert answer.retry_after_s == wait_s


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_no_header_breaks_the_reading(usage: str, retry_after: str) -> None:
    headers = {"x-business-use-case-usage": usage, "retry-after": retry_after}
    answer = outcome_of(refused(80007, headers=headers))
    assert isinstance(answer, Rejected)
    assert 0 <= answer.retry_after_s <= 86_400


@pytest.mark.parametrize("token", ["", "a b", "secret\r\nX-Evil: 1", "señal"])
def test_a_token_that_cannot_stand_in_a_header_is_refused_without_showing_it(token: str) -> None:
    lines = Lines(Endpoint.parse("http://127.0.0.1:1"), lambda: 0.0, idle_max=1)
    with pytest.raises(CredentialMissing) as error:
        CloudApi("1", token, lines)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["", "ftp://x", "127.0.0.1:80", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Endpoint.parse(url)


def test_no_phone_and_no_address_of_a_contact_is_in_a_reason() -> None:
    said = "Parameter '+55 11 98765-0001', 5511987650001 or maria@example.com is not valid (131009)"
    body = {
        "error": {"message": "no", "type": "OAuthException", "code": 131009, "error_data": {"details": said}}
    }
    answer = outcome_of(Reply(400, json.dumps(body).encode()))
    assert isinstance(answer, Rejected)
    assert answer.detail.endswith("Parameter '…', … or … is not valid (131009)")
