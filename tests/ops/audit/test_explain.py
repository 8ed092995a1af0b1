"""An id's whole history, in order, without telling who it is about."""

from __future__ import annotations

import msgspec
import pytest

from ops.audit.explain import BadId, NothingKnown, explain
from tests.support.story import CAMPAIGN, PHONE, Story


def test_a_delivery_is_told_from_the_post_to_the_providers_last_word(story: Story) -> None:
    moments = explain(story.found, story.delivery_id)
    told = [moment.what for moment in moments]
    for what in (
        "completions",
        "outcomes",
        "matches",
        "deliveries",
        "archived",
        "verdict: matched",
        "created; now delivered",
        "calling the provider",
        "call ended: sent",
        "the provider accepted it",
        "provider status: delivered",
        "delivery_events",
    ):
        assert what in told, what
    assert [moment.at for moment in moments] == sorted(moment.at for moment in moments)
    assert told.index("calling the provider") < told.index("provider status: delivered")


def test_a_delivery_that_waits_says_why_and_a_sent_one_does_not(story: Story) -> None:
    assert not any(moment.what.startswith("waits") for moment in explain(story.found, story.first))
    story.sql("UPDATE deliveries SET state = 'waiting', due_at = now()")
    story.sql("INSERT INTO sending_stops (scope, reason) VALUES (%s, 'wrong text')", f"campaign:{CAMPAIGN}")
    for id_text in (story.first, story.delivery_id):
        last = explain(story.found, id_text)[-1]
        assert last.what.startswith("waits: ")
        assert any(
            f"campaign {CAMPAIGN} is stopped: wrong text" in reason for reason in last.detail["reasons"]
        )


def test_a_duplicate_says_who_came_first(story: Story) -> None:
    moments = explain(story.found, story.second)
    (duplicate,) = [moment for moment in moments if moment.where == "table duplicates"]
    assert duplicate.detail["first_completion_id"] == story.first


def test_no_phone_and_no_name_is_told(story: Story) -> None:
    for id_text in (story.first, story.delivery_id):
        text = msgspec.json.encode(explain(story.found, id_text)).decode()
        assert PHONE.removeprefix("+") not in text
        assert "Segredo" not in text
        assert "+55…21" in text


def test_what_nobody_knows_and_what_is_no_id_is_said(story: Story) -> None:
    with pytest.raises(NothingKnown, match="No topic and no table"):
        explain(story.found, "00000000-0000-4000-8000-000000000000")
    with pytest.raises(BadId, match="'abc' is not an id"):
        explain(story.found, "abc")
