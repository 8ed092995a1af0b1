from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.records import Condition, Message, Question, Variable
from sinks.postgres.catalogue.catalogue import (
    CampaignDraft,
    CampaignRejected,
    NumberDraft,
    QuizDraft,
    QuizRejected,
    UnknownCampaign,
    UnknownTenant,
    cancel_campaign,
    get_quiz,
    newest_campaign,
    save_campaign,
    save_number,
    save_quiz,
    save_tenant,
    save_token,
    suppress,
    token_hash,
)
from tests.support.samples import NOW_MS
from tests.support.sinks import Corner

QUIZ = QuizDraft("iq", "demo", "A quiz", [Question("q1", right_answer="4"), Question("q2")])
CAMPAIGN = CampaignDraft(
    campaign_id="club",
    tenant_id="demo",
    name="The club",
    quiz_ids=["iq"],
    conditions=[Condition("score", "gte", [8])],
    message=Message("template", template="club", variables=[Variable("right", "score", fallback="0")]),
)


@pytest.fixture
def shop(corner: Corner) -> Corner:
    save_tenant(corner.connection, "demo", "A tenant")
    save_quiz(corner.connection, QUIZ, NOW_MS)
    return corner


def changed(draft: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(draft, **changes)


def saved(corner: Corner, draft: CampaignDraft = CAMPAIGN, now_ms: int = NOW_MS) -> Any:
    return save_campaign(corner.connection, draft, corner.topology.campaigns, now_ms)


def test_a_quiz_has_a_new_version_for_each_change_and_none_without(shop: Corner) -> None:
    same = save_quiz(shop.connection, QUIZ, NOW_MS + 5)
    closed = save_quiz(shop.connection, changed(QUIZ, open=False), NOW_MS + 6)

    assert (same.version, same.created_at, closed.version) == (1, NOW_MS, 2)
    assert get_quiz(shop.connection, "iq") == closed
    assert shop.told("quizzes") == [same, closed]


def test_a_quiz_that_cannot_work_is_refused_with_every_reason(shop: Corner) -> None:
    save_tenant(shop.connection, "other", "Another")
    with pytest.raises(QuizRejected) as twice:
        save_quiz(
            shop.connection,
            changed(QUIZ, quiz_id="a/b", questions=[Question("x"), Question("x"), Question(" ")]),
            0,
        )
    with pytest.raises(QuizRejected, match="belongs to another tenant"):
        save_quiz(shop.connection, changed(QUIZ, tenant_id="other"), 0)
    with pytest.raises(UnknownTenant):
        save_quiz(shop.connection, changed(QUIZ, quiz_id="new", tenant_id="nobody"), 0)

    assert len(twice.value.problems) == 3
    assert len(shop.told("quizzes")) == 1


def test_a_campaign_comes_into_force_after_its_delay(shop: Corner) -> None:
    first = saved(shop)
    again = saved(shop, now_ms=NOW_MS + 1000)
    second = saved(shop, changed(CAMPAIGN, priority=3), now_ms=NOW_MS - 60_000)

    assert first == again
    assert (first.version, first.effective_at) == (1, NOW_MS + shop.topology.campaigns.activation_delay_ms)
    # A clock set back does not put the second version before the first.
    assert (second.version, second.effective_at) == (2, first.effective_at + 1)
    assert second.month == first.month
    assert shop.told("campaigns") == [first, second]
    assert shop.rows("SELECT key FROM outbox WHERE topic = 'campaigns' ORDER BY id") == [
        (b"club|1",),
        (b"club|2",),
    ]


def test_a_cancelled_campaign_stays_cancelled(shop: Corner) -> None:
    saved(shop)
    last = cancel_campaign(shop.connection, "club", NOW_MS + 5000)

    assert (last.version, last.active) == (2, False)
    assert cancel_campaign(shop.connection, "club", NOW_MS + 9000) == saved(shop) == last
    assert shop.told("campaigns")[-1] == newest_campaign(shop.connection, "club") == last
    with pytest.raises(CampaignRejected, match="was cancelled"):
        saved(shop, changed(CAMPAIGN, priority=9))
    with pytest.raises(UnknownCampaign):
        cancel_campaign(shop.connection, "nothing", NOW_MS)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"quiz_ids": ["nothing"]}, 'no quiz "nothing"'),
        ({"quiz_ids": []}, "names no quiz"),
        ({"campaign_id": "a|b"}, "id must be"),
        ({"conditions": [Condition("answers.q9", "eq", ["x"])]}, "no such question"),
        ({"conditions": [Condition("score", "gte", [1])] * 33}, "33 conditions"),
        ({"delay_s": -1}, "delay must lie"),
        ({"message": Message("text", text="")}, "club: .+"),
        ({"message": Message("text", text="Hi {n}", variables=[Variable("n", "contact.name")])}, '"n"'),
        ({"message": Message("template", "t", variables=[Variable(f"v{n}", "score") for n in range(17)])},
         "17 variables"),
    ],
)  # fmt: skip
def test_a_campaign_that_cannot_work_is_refused(shop: Corner, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(CampaignRejected, match=problem):
        saved(shop, changed(CAMPAIGN, **changes))

    assert shop.rows("SELECT 1 FROM campaigns") == shop.told("campaigns") == []


def test_a_campaign_on_a_quiz_of_another_tenant_is_refused(shop: Corner) -> None:
    save_tenant(shop.connection, "other", "Another")

    with pytest.raises(CampaignRejected, match='no quiz "iq"'):
        saved(shop, changed(CAMPAIGN, tenant_id="other"))


def test_a_token_is_stored_as_its_hash_and_can_be_revoked(shop: Corner) -> None:
    hashed = token_hash("a secret")
    first = save_token(shop.connection, hashed, "*")
    again = save_token(shop.connection, hashed, "*")
    gone = save_token(shop.connection, hashed, "*", revoked=True)

    assert first == again
    assert (gone.version, gone.revoked) == (2, True)
    assert shop.told("tokens") == [first, gone]
    assert "a secret" not in str(shop.rows("SELECT * FROM tokens"))


def test_saving_a_number_leaves_its_lease_and_its_state(shop: Corner) -> None:
    draft = NumberDraft("1001", "demo", "meta-cloud", "http://p", "TOKEN")
    assert save_number(shop.connection, draft)
    shop.rows("UPDATE sender_numbers SET state = 'paused', fencing_token = 7 RETURNING 1")

    assert not save_number(shop.connection, draft)
    assert save_number(shop.connection, changed(draft, messages_per_s=20))

    assert shop.rows("SELECT state, fencing_token, messages_per_s FROM sender_numbers") == [("paused", 7, 20)]


def test_a_contact_is_suppressed_once(shop: Corner) -> None:
    assert suppress(shop.connection, "demo", "c", "asked by phone")
    assert not suppress(shop.connection, "demo", "c", "asked again")
    assert shop.rows("SELECT reason FROM suppressions") == [("asked by phone",)]
