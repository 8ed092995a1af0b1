"""Phone numbers at the edge: accepted under their canonical form, or 422 with what is wrong."""

from __future__ import annotations

import pytest

from schemas import ids
from tests.support.edge import Edge


@pytest.mark.parametrize(
    ("written", "e164"),
    [
        ("0055 81 99123-4567", "+5581991234567"),
        ("\u202a+55 81 99123-4567\u202c", "+5581991234567"),
        ("9090 11 98765-4321", "+5511987654321"),
        ("+54 11 3456-7812", "+5491134567812"),
        ("+52 1 55 1234 5678", "+525512345678"),
    ],
)
def test_a_number_is_accepted_under_its_canonical_form(edge: Edge, written: str, e164: str) -> None:
    answer = edge.submit("survey", {"answers": {}, "contact": {"phone": written}})

    assert answer.status == 202, answer.body
    (completion,) = [
        each for each in edge.completions() if each.completion_id == answer.json["completion_id"]
    ]
    assert completion.personal.phone == e164
    assert completion.contact_id == ids.contact_id(edge.settings.contact_key, completion.tenant_id, e164)


@pytest.mark.parametrize(
    ("written", "detail"),
    [
        ("11 9998-7760", "a digit is missing: a mobile number has the area code, a 9 and 8 more digits"),
        ("0800 123 4567", "the number is a service number"),
        ("0300 123 4567", "the number is a service number"),
        ("0011987654321", "the number starts with 00, and its country is not certain"),
        ("98765-4321", "the area code is missing"),
        ("14155552671", "for another country, start with + and the country code"),
        ("+6834002", "the number has fewer than 8 digits"),
    ],
)
def test_a_rejected_number_is_a_problem_that_says_what_is_wrong(
    edge: Edge, written: str, detail: str
) -> None:
    before = len(edge.completions())

    answer = edge.submit("survey", {"answers": {}, "contact": {"phone": written}})

    assert (answer.status, answer.problem) == (422, "invalid-phone")
    assert answer.json["pointer"] == "#/contact/phone"
    assert detail in answer.json["detail"]
    assert written[-4:] not in answer.json["detail"]
    assert len(edge.completions()) == before
