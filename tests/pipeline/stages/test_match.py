"""Which campaigns answer a completion, and what their messages are told."""

from __future__ import annotations

import math

import pytest

from pipeline.campaigns.registry import CampaignBook, Campaigns
from pipeline.stages.match import Matched, Unmatched, match, match_event, variables
from schemas.ids import delivery_id
from schemas.records import Answer, Campaign, Condition, Consent, Variable
from tests.support.stage_events import campaign, completion


def known(*versions: Campaign) -> Campaigns:
    book = CampaignBook(now_ms=lambda: 0)
    for version in versions:
        book.apply(version)
    return book.snapshot()


EIGHT_RIGHT = (Condition("score", "gte", [8.0]),)


def test_a_completion_matches_by_its_score_and_campaigns_come_in_order_of_their_ids() -> None:
    campaigns = known(campaign("z"), campaign("m", conditions=EIGHT_RIGHT), campaign("a"))
    found = match(completion(score=8.0), campaigns)
    assert isinstance(found, Matched)
    assert [chosen.campaign_id for chosen in found.campaigns] == ["a", "m", "z"]
    found = match(completion(score=7.0), campaigns)
    assert isinstance(found, Matched)
    assert [chosen.campaign_id for chosen in found.campaigns] == ["a", "z"]


def test_nothing_matches_without_a_reason_of_its_own() -> None:
    assert match(completion(score=7.0), known(campaign(conditions=EIGHT_RIGHT))) == Unmatched()
    assert match(completion(), known()) == Unmatched()


def test_nobody_is_written_to_without_a_phone() -> None:
    assert match(completion(phone=None), known(campaign())) == Unmatched("no phone")


def test_nobody_is_written_to_who_did_not_agree() -> None:
    asked = known(campaign())
    no = completion(consent=Consent(False, "v3"))
    assert match(no, asked) == Unmatched("consent was not granted")
    assert isinstance(match(completion(consent=Consent(True, "v3")), asked), Matched)


def test_a_campaign_made_after_a_completion_does_not_match_it() -> None:
    campaigns = known(campaign(effective_at=1_000))
    assert match(completion(accepted_at=999), campaigns) == Unmatched()
    assert isinstance(match(completion(accepted_at=1_000), campaigns), Matched)


def test_a_match_carries_what_the_ledger_needs() -> None:
    done = completion(7, score=9.0)
    chosen = campaign("welcome", 3, variables=(Variable("points", "score"),))
    event = match_event(done, chosen, "Quiz")
    assert event.delivery_id == delivery_id("welcome", done.contact_id)
    assert (event.campaign_version, event.campaign_month) == (3, chosen.month)
    assert (event.completion_id, event.day, event.accepted_at) == (
        done.completion_id,
        done.day,
        done.accepted_at,
    )
    assert event.personal == done.personal
    assert event.variables == {"points": "9"}


@pytest.mark.parametrize(
    ("answer", "shown"),
    [("  sim ", "sim"), (3, "3"), (2.0, "2"), (2.5, "2.5"), (True, "true"), (["a", " ", "b"], "a, b")],
)
def test_values_are_shown_as_people_write_them(answer: Answer, shown: str) -> None:
    chosen = campaign(variables=(Variable("x", "answers.q"),))
    assert variables(completion(answers={"q": answer}), chosen, None) == {"x": shown}


@pytest.mark.parametrize("answer", ["", "  ", [], [" "], math.nan, math.inf])
def test_an_empty_value_is_absent_so_that_the_fallback_is_used(answer: Answer) -> None:
    chosen = campaign(variables=(Variable("x", "answers.q", "friend"),))
    assert variables(completion(answers={"q": answer}), chosen, None) == {}


def test_personal_variables_travel_with_the_person_only() -> None:
    chosen = campaign(
        variables=(
            Variable("who", "contact.name"),
            Variable("quiz", "quiz.title"),
            Variable("points", "score"),
            Variable("other", "answers.unasked"),
        )
    )
    assert variables(completion(), chosen, "Big five") == {"quiz": "Big five"}
    assert variables(completion(), chosen, None) == {}
