"""Phones, opt-outs and answers of the provider on the running product: HTTP in, the provider's record out."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.support.quizzes import Make
from tests.support.running_pipeline import Pipeline, until
from tests.support.signed_webhooks import post_webhook
from tests.support.spellings import people

pytestmark = pytest.mark.xdist_group("acceptance")

AT_ONCE = 100  # requests
SEED = 12

# As a person types it -> to whom the message goes; None: 422.
PHONES: list[tuple[str, str | None]] = [
    ("0055 81 99123-4567", "5581991234567"),
    ("00 55 49 99123-4501", "5549991234501"),
    ("+0055 49 99123-4502", "5549991234502"),
    ("0 31 49 99123-4503", "5549991234503"),
    ("09011987654321", "5511987654321"),
    ("9090 11 98765-4322", "5511987654322"),
    ("+54 9 11 3456-7812", "5491134567812"),
    ("+54 11 3456-7812", "5491134567812"),
    ("+52 1 55 5123 4567", "525551234567"),
    ("+52 55 5123 4567", "525551234567"),
    ("\u202a+55 47 98921-1901\u202c", "5547989211901"),
    ("\u2066\u200e47 98921-1902\u2069\ufeff", "5547989211902"),
    ("11 9998-7760", None),
    ("0011987654321", None),
    ("0034 912 345 678", None),
    ("14155552671", None),
    ("0800 123 4567", None),
    ("0300 123 4567", None),
    ("+6834002", None),
]


async def _post(pipeline: Pipeline, quiz: str, contacts: Sequence[dict[str, Any]]) -> list[int]:
    url = f"{pipeline.found.settings.edge_url}/quiz/{quiz}/completions"
    headers = {"Authorization": f"Bearer {pipeline.found.settings.service_token}"}
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def one(contact: dict[str, Any]) -> int:
            body = {"answers": {"quer": "sim"}, "contact": contact}
            async with session.post(url, json=body) as response:
                return response.status

        return await asyncio.gather(*(one(contact) for contact in contacts))


def submit(pipeline: Pipeline, quiz: str, typed: Sequence[str]) -> list[int]:
    """The status of each completion; all of them match the quiz's campaign."""
    return asyncio.run(_post(pipeline, quiz, [{"phone": phone} for phone in typed]))


def written_to(pipeline: Pipeline, act: Callable[[], object]) -> Counter[str]:
    """The recipients whose messages the provider accepted, once nothing is in flight; the ledger holds."""
    before = len(pipeline.calls())
    act()
    report = pipeline.settled()
    assert report.ok, report.breaches
    return Counter(call["to"] for call in pipeline.calls()[before:] if call["wamid"] is not None)


def test_each_spelling_of_a_phone_reaches_its_person_or_is_rejected(
    pipeline: Pipeline, make_quiz: Make
) -> None:
    make_quiz("telefones")
    statuses: list[int] = []

    found = written_to(
        pipeline, lambda: statuses.extend(submit(pipeline, "telefones", [typed for typed, _ in PHONES]))
    )

    assert statuses == [422 if to is None else 202 for _, to in PHONES]
    assert found == Counter({to for _, to in PHONES if to is not None})


def test_people_in_ten_spellings_each_are_so_many_contacts_and_messages(
    pipeline: Pipeline, make_quiz: Make
) -> None:
    in_ten_spellings(pipeline, make_quiz, 100, 0)


@pytest.mark.full
def test_ten_thousand_spellings_are_a_thousand_contacts_and_messages(
    pipeline: Pipeline, make_quiz: Make
) -> None:
    in_ten_spellings(pipeline, make_quiz, 1_000, 1_000)


def in_ten_spellings(pipeline: Pipeline, make_quiz: Make, count: int, first: int) -> None:
    """No number outside of the country gets a message, unless it was typed as such."""
    quiz = f"grafias-{count}"
    make_quiz(quiz)
    everybody = dict(people(count, SEED, first))
    typed = [spelling for turn in zip(*everybody.values(), strict=True) for spelling in turn]
    assert len(set(typed)) == 10 * count
    statuses: list[int] = []

    found = written_to(pipeline, lambda: statuses.extend(submit(pipeline, quiz, typed)))

    assert Counter(statuses) == {202: 10 * count}
    assert found == Counter(phone.removeprefix("+") for phone in everybody)
    of_sim = "FROM completions WHERE quiz_id = %s AND answers ->> 'quer' = 'sim'"  # not of `make_quiz`
    contacts = f"SELECT count(DISTINCT contact_id) {of_sim}"
    assert pipeline.value(contacts, quiz) == count


class Sent(NamedTuple):
    """The message that a person got, and from which number."""

    number: str
    message_id: str


def sent_to(pipeline: Pipeline, campaign: str) -> dict[str, Sent]:
    rows = pipeline.rows(
        "SELECT c.phone, d.number_id, d.provider_message_id FROM deliveries AS d"
        " JOIN contacts AS c USING (tenant_id, contact_id) WHERE d.campaign_id = %s",
        campaign,
    )
    return {phone.removeprefix("+"): Sent(number, message_id) for phone, number, message_id in rows}


def text(sender: str, body: str, **more: Any) -> dict[str, Any]:
    part = {"from": sender, "id": f"wamid.{sender}.{body}", "type": "text", "text": {"body": body}}
    return {"messages": [{key: value for key, value in (part | more).items() if value is not None}]}


def reply(sender: str, kind: str, title: str) -> dict[str, Any]:
    return text(
        sender, title, type="interactive", interactive={"type": kind, kind: {"id": "1", "title": title}}
    )


def old(value: dict[str, Any]) -> dict[str, Any]:
    """The message of yesterday."""
    (message,) = value["messages"]
    return {**message, "timestamp": str(int(time.time()) - 86_400)}


def user(phone: str) -> str:
    return f"BR.{phone}"


Form = Callable[[str, Sent], list[tuple[str, dict[str, Any]]]]
"""Phone and last message -> the fields and values of webhooks, in order."""
OPT_OUTS: dict[str, Form] = {
    "5547988110001": lambda who, _: [("messages", text(who, "CANCELAR"))],
    "5547988110002": lambda who, _: [("messages", text(who, "PARE"))],
    "5547988110003": lambda who, _: [("messages", text(who, "DESCADASTRAR"))],
    "5547988110004": lambda who, _: [("messages", text(who, "sair por favor"))],
    "5547988110005": lambda who, _: [
        ("messages", text(who, "b", type="button", button={"text": "Stop promotions", "payload": "x"}))
    ],
    "5547988110006": lambda who, _: [("messages", reply(who, "button_reply", "Parar promoções"))],
    "5547988110007": lambda who, _: [("messages", reply(who, "list_reply", "Parar promoções"))],
    # Another id of the same person: without the ninth digit, with Mexico's old 1, without Argentina's 9.
    "5547988110008": lambda who, _: [("messages", text(f"{who[:4]}{who[5:]}", "STOP"))],
    "525551230009": lambda who, _: [("messages", text(f"521{who[2:]}", "STOP"))],
    "5491134560010": lambda who, _: [("messages", text(f"54{who[3:]}", "STOP"))],
    # Without a phone: by our message, by a user id that an earlier message taught, in the preferences.
    "5547988110011": lambda who, sent: [
        (
            "messages",
            text(who, "STOP", **{"from": None}, from_user_id=user(who), context={"id": sent.message_id}),
        )
    ],
    "5547988110012": lambda who, _: [
        ("messages", text(who, "oi") | {"contacts": [{"wa_id": who, "user_id": user(who)}]}),
        ("messages", text(who, "stop", **{"from": None}, from_user_id=user(who))),
    ],
    "5547988110013": lambda who, _: [
        ("messages", text(who, "oi") | {"contacts": [{"wa_id": who, "user_id": user(who)}]}),
        ("user_preferences", {"user_preferences": [{"user_id": user(who), "value": "stop"}]}),
    ],
    "5547988110014": lambda who, _: [
        ("user_preferences", {"user_preferences": [{"wa_id": who, "value": "stop"}]})
    ],
    "5547988110015": lambda who, _: [
        (
            "messages",
            text(who, "c", type="system", system={"type": "user_changed_number", "wa_id": "5547977110015"}),
        ),
        ("messages", text("5547977110015", "STOP")),
    ],
    "5547988110016": lambda who, _: [
        (
            "messages",
            text(who, "e", type="edit", edit={"message": {"type": "text", "text": {"body": "pare"}}}),
        )
    ],
    # Beside a name of which half a character is missing.
    "5547988110018": lambda who, _: [
        ("messages", text(who, "stop") | {"contacts": [{"wa_id": who, "profile": {"name": "Ana \ud83d"}}]})
    ],
    # Before the number was connected to the product, in the provider's app.
    "5547988110017": lambda who, _: [
        ("history", {"history": [{"threads": [{"id": who, "messages": [old(text(who, "sair"))]}]}]})
    ],
}
NO_OPT_OUTS: dict[str, Form] = {
    "5547988110091": lambda who, _: [("messages", text(who, "obrigado"))],
    "5547988110092": lambda who, _: [("messages", text(who, "não pare de mandar, adorei"))],
}
OPT_INS: dict[str, Form] = {
    "5547988110001": lambda who, _: [("messages", text(who, "START"))],
    "5547988110014": lambda who, _: [
        ("user_preferences", {"user_preferences": [{"wa_id": who, "value": "resume"}]})
    ],
}


def test_who_opted_out_in_any_form_gets_no_campaign_message_until_an_opt_in(
    pipeline: Pipeline, make_quiz: Make
) -> None:
    make_quiz("saidas-1", "saidas-2", "saidas-3")
    everybody = [*OPT_OUTS, *NO_OPT_OUTS]
    typed = [f"+{phone}" for phone in everybody]
    assert written_to(pipeline, lambda: submit(pipeline, "saidas-1", typed)) == Counter(everybody)
    last = sent_to(pipeline, "saidas-1-campanha")

    def say(forms: dict[str, Form]) -> None:
        for phone, form in forms.items():
            for field, value in form(phone, last[phone]):
                post_webhook(pipeline, field, value, number=last[phone].number)

    assert written_to(pipeline, lambda: say(OPT_OUTS | NO_OPT_OUTS)) == {}
    found = written_to(pipeline, lambda: submit(pipeline, "saidas-2", [*typed, "+5547977110015"]))
    assert found == Counter([*NO_OPT_OUTS])

    assert written_to(pipeline, lambda: say(OPT_INS)) == {}
    found = written_to(pipeline, lambda: submit(pipeline, "saidas-3", typed))
    assert found == Counter([*NO_OPT_OUTS, *OPT_INS])


def changed_number(sender: str, after: str) -> dict[str, Any]:
    return text(sender, "c", type="system", system={"type": "user_changed_number", "wa_id": after})


def test_two_contacts_that_prove_to_be_one_get_one_message_of_a_campaign(
    pipeline: Pipeline, make_quiz: Make
) -> None:
    make_quiz("um-so-1", "um-so-2")
    before, after = "5547988120001", "5547977120001"
    both = [f"+{before}", f"+{after}"]
    assert written_to(pipeline, lambda: submit(pipeline, "um-so-1", both)) == Counter([before, after])
    number = sent_to(pipeline, "um-so-1-campanha")[before].number
    post_webhook(pipeline, "messages", changed_number(before, after), number=number)
    until(lambda: len(one_persons(pipeline, before)) == 2, "the contacts are united")

    found = written_to(pipeline, lambda: submit(pipeline, "um-so-2", both))

    assert found.total() == 1
    assert set(found) <= {before, after}


def one_persons(pipeline: Pipeline, phone: str) -> list[tuple[Any, ...]]:
    return pipeline.rows(
        "SELECT p.contact_id FROM contacts AS c, same_person(c.tenant_id, c.contact_id) AS p (contact_id)"
        " WHERE c.phone = %s",
        f"+{phone}",
    )


def test_an_opt_out_of_nobody_known_is_listed_and_holds_once_it_is_known_whose_it_is(
    pipeline: Pipeline, make_quiz: Make
) -> None:
    make_quiz("depois-1", "depois-2")
    who = "5547988130001"
    assert written_to(pipeline, lambda: submit(pipeline, "depois-1", [f"+{who}"])) == Counter([who])
    number = sent_to(pipeline, "depois-1-campanha")[who].number
    stop = text(who, "stop", **{"from": None}, from_user_id=user(who))
    post_webhook(pipeline, "messages", stop, number=number)

    def unresolved() -> bool:
        listed = pipeline.quizstream("suppression", "inbound", "--unresolved", "--consent", "stop", "--json")
        return number in listed.stdout

    until(unresolved, "the opt-out is listed")
    assert "unresolved" in pipeline.quizstream("doctor").stdout

    known = text(who, "oi") | {"contacts": [{"wa_id": who, "user_id": user(who)}]}
    post_webhook(pipeline, "messages", known, number=number)
    until(lambda: not unresolved(), "it is known whose it is")

    assert written_to(pipeline, lambda: submit(pipeline, "depois-2", [f"+{who}"])) == {}


def test_who_does_not_consent_is_stored_and_gets_no_message(pipeline: Pipeline, make_quiz: Make) -> None:
    make_quiz("consentimento")
    decided = {"5547988140001": False, "5547988140002": True, "5547988140003": None}
    contacts = [
        {"phone": f"+{phone}", **({} if granted is None else {"consent": {"granted": granted, "text": "v3"}})}
        for phone, granted in decided.items()
    ]

    found = written_to(pipeline, lambda: asyncio.run(_post(pipeline, "consentimento", contacts)))

    assert found == Counter(phone for phone, granted in decided.items() if granted is not False)
    stored = pipeline.rows(
        "SELECT ltrim(k.phone, '+'), c.consent_granted FROM completions AS c"
        " JOIN contacts AS k USING (tenant_id, contact_id) WHERE c.quiz_id = 'consentimento'"
        " AND c.answers ->> 'quer' = 'sim'"  # not of `make_quiz`
    )
    assert dict(stored) == decided


FINAL = [
    3,
    33,
    130497,
    131021,
    131030,
    131037,
    131044,
    131051,
    131052,
    131062,
    131063,
    132008,
    132018,
    132069,
]
FINAL += [133016, 135000, 999123]  # the last is in no list
ONE_PERSONS = [132005, 132000, 100, 131008, 131009, 131053]


class Answered(NamedTuple):
    """A rule for one person's first call, and what becomes of the person: how many calls, which state."""

    rule: dict[str, Any]
    calls: int
    states: frozenset[str]


REACHED = frozenset({"sent", "delivered", "read"})
FAILED = frozenset({"failed"})


def error(code: object) -> str:
    return json.dumps({"error": {"code": code, "type": "OAuthException", "message": "no"}})


def accepted(message_id: str) -> str:
    return json.dumps({"messages": [{"id": message_id}], "contacts": [{"input": "1", "wa_id": "1"}]})


ANSWERS: list[Answered] = [
    *(Answered({"do": "error", "code": code, "status": 400}, 1, FAILED) for code in [*FINAL, *ONE_PERSONS]),
    Answered({"do": "error", "code": 999124, "status": 404}, 1, FAILED),
    Answered({"do": "raw", "status": 400, "body": error("131026")}, 1, FAILED),
    Answered({"do": "raw", "status": 400, "body": error(131026.0)}, 1, FAILED),
    *(Answered({"do": "raw", "status": status, "body": ""}, 2, REACHED) for status in (429, 401, 404, 307)),
    Answered({"do": "raw", "status": 429, "body": "", "retry_after_s": 1}, 2, REACHED),
    Answered({"do": "raw", "status": 200, "body": accepted("wamid.A\0B"), "taken": True}, 1, REACHED),
    # Accepted, and then reported as failed: for good, and with a code that only delays.
    Answered({"do": "answer", "statuses": ["failed"], "code": 131026}, 1, FAILED),
    Answered({"do": "answer", "statuses": ["failed"], "code": 131056}, 2, REACHED),
    Answered({"do": "raw", "status": 200, "body": accepted("w" * 5_000), "taken": True}, 1, REACHED),
]


@contextmanager
def rules(pipeline: Pipeline, wanted: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Of the simulator, for the first call to each person; gone at the end."""
    url = f"{pipeline.found.settings.simulator_url}/simulator/rules"

    def ask(method: str, body: bytes | None = None) -> None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request) as response:
            assert response.status < 300

    try:
        for phone, rule in wanted.items():
            ask("POST", json.dumps({"to": phone, "count": 1, "name": "test", **rule}).encode())
        yield
    finally:
        ask("DELETE")


def states_of(pipeline: Pipeline) -> dict[str, str]:
    return dict(
        pipeline.rows(
            "SELECT ltrim(c.phone, '+'), d.state FROM deliveries AS d"
            " JOIN contacts AS c USING (tenant_id, contact_id) WHERE d.campaign_id = 'respostas-campanha'"
        )
    )


def test_every_answer_is_read_as_sent_or_not_sent_and_stops_nobody_else(
    pipeline: Pipeline, make_quiz: Make
) -> None:
    make_quiz("respostas")
    cases = {f"55479882200{place:02d}": answer for place, answer in enumerate(ANSWERS)}
    others = [f"55479882300{place:02d}" for place in range(20)]
    mixed = [*others[:10], *cases, *others[10:]]
    with rules(pipeline, {phone: answer.rule for phone, answer in cases.items()}):
        before = len(pipeline.calls())
        assert set(submit(pipeline, "respostas", [f"+{phone}" for phone in mixed])) == {202}
        wanted = Counter({phone: answer.calls for phone, answer in cases.items()}) + Counter(others)

        def called() -> Counter[str]:
            return Counter(call["to"] for call in pipeline.calls()[before:])

        until(lambda: called() >= wanted, "every call that is due was made")
        for_good = [phone for phone, answer in cases.items() if answer.states == FAILED]
        until(lambda: {states_of(pipeline).get(phone) for phone in for_good} == FAILED, "the last status")
        report = pipeline.settled()

    assert report.ok, report.breaches
    assert called() == wanted
    states = states_of(pipeline)
    unexpected = {
        phone: (states.get(phone), answer.rule)
        for phone, answer in cases.items()
        if states.get(phone) not in answer.states
    }
    assert unexpected == {}
    assert {states[phone] for phone in others} <= REACHED
    assert pipeline.rows("SELECT scope FROM sending_stops") == []
