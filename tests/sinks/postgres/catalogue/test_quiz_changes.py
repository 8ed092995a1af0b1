"""A quiz changes while campaigns use it and while pages of it are open: neither loses anything."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from schemas.records import Condition, Message, Question, Variable
from sinks.postgres.catalogue.catalogue import (
    CampaignDraft,
    CampaignRejected,
    QuizDraft,
    QuizRejected,
    cancel_campaign,
    get_quiz,
    save_campaign,
    save_quiz,
    save_tenant,
)
from sinks.postgres.connect import connect
from sinks.postgres.restore.catalogue import restore_catalogue
from tests.support.samples import NOW_MS
from tests.support.sinks import Corner, until

QUIZ = QuizDraft("iq", "demo", "A quiz", [Question("q1", right_answer="4"), Question("q2")])
WITHOUT_Q2 = msgspec.structs.replace(QUIZ, questions=[Question("q1", right_answer="4")])
PLAIN = CampaignDraft("plain", "demo", "Needs nothing", ["iq"], Message("text", text="Hi"))
NEEDS_Q2 = msgspec.structs.replace(
    PLAIN,
    campaign_id="needy",
    conditions=[Condition("answers.q2", "exists")],
    message=Message("text", text="{why}", variables=[Variable("why", "answers.q2", fallback="-")]),
)


def changed(draft: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(draft, **changes)


def showing(source: str) -> CampaignDraft:
    message = Message("text", text="{x}", variables=[Variable("x", source)])
    return msgspec.structs.replace(PLAIN, campaign_id="needy", message=message)


@pytest.fixture
def shop(corner: Corner) -> Corner:
    save_tenant(corner.connection, "demo", "A tenant")
    save_quiz(corner.connection, QUIZ, NOW_MS)
    return corner


def saved(corner: Corner, draft: CampaignDraft) -> Any:
    return save_campaign(corner.connection, draft, corner.topology.campaigns, NOW_MS)


@pytest.mark.parametrize(
    ("campaign", "quiz", "problem"),
    [
        (NEEDS_Q2, WITHOUT_Q2, 'no question "q2"'),
        (changed(NEEDS_Q2, message=Message("text", text="Hi")), WITHOUT_Q2, "no such question"),
        (showing("score"), changed(QUIZ, questions=[Question("q1"), Question("q2")]), "score may be missing"),
        (showing("quiz.title"), changed(QUIZ, title=" \u200b"), "quiz.title may be missing"),
        (showing("quiz.title"), changed(QUIZ, title="T" * 4097), "longer than 4096"),
    ],
)
def test_a_quiz_is_not_changed_under_a_campaign_that_needs_it_as_it_is(
    shop: Corner, campaign: CampaignDraft, quiz: QuizDraft, problem: str
) -> None:
    saved(shop, PLAIN)
    saved(shop, campaign)

    with pytest.raises(QuizRejected, match=problem) as rejected:
        save_quiz(shop.connection, quiz, NOW_MS)

    [reason, _] = rejected.value.problems
    assert reason.startswith('campaign "needy" needs it as it is')
    assert [get_quiz(shop.connection, "iq")] == shop.told("quizzes")

    saved(shop, changed(campaign, active=False))
    assert save_quiz(shop.connection, quiz, NOW_MS).version == 2


@pytest.mark.parametrize("end", ["cancelled", "ended", "changed"])
def test_a_campaign_that_no_longer_needs_a_question_lets_it_go(shop: Corner, end: str) -> None:
    saved(shop, changed(NEEDS_Q2, ends_at=NOW_MS + 1000) if end == "ended" else NEEDS_Q2)
    if end == "cancelled":
        cancel_campaign(shop.connection, "needy", NOW_MS)
    elif end == "changed":
        saved(shop, changed(PLAIN, campaign_id="needy"))

    assert save_quiz(shop.connection, WITHOUT_Q2, NOW_MS + 1000).version == 2


def test_what_was_wrong_before_stops_no_other_change(shop: Corner) -> None:
    saved(shop, NEEDS_Q2)
    shop.rows("""UPDATE quizzes SET questions = '[{"question_id": "q1"}]' RETURNING 1""")

    assert save_quiz(shop.connection, changed(WITHOUT_Q2, title="Another"), NOW_MS).version == 2


def test_many_campaigns_are_named_and_the_rest_are_counted(shop: Corner) -> None:
    for n in range(23):
        saved(shop, changed(NEEDS_Q2, campaign_id=f"needs-{n:02}"))

    with pytest.raises(QuizRejected) as rejected:
        save_quiz(shop.connection, WITHOUT_Q2, NOW_MS)

    assert len(rejected.value.problems) == 22
    assert rejected.value.problems[20] == "and 3 more campaigns"


def test_a_quiz_and_a_campaign_that_are_saved_at_one_moment_see_each_other(shop: Corner) -> None:
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with connect(shop.database_url, "the other") as other, ThreadPoolExecutor() as pool:
        with other.transaction():
            save_campaign(other, NEEDS_Q2, shop.topology.campaigns, NOW_MS)
            change = pool.submit(save_quiz, shop.connection, WITHOUT_Q2, NOW_MS)
            until(lambda: other.execute(waiting).fetchone() == (1,), "the quiz to wait for the campaign")
        with pytest.raises(QuizRejected, match="needy"):
            change.result(timeout=60)


def test_a_removed_question_is_remembered_until_it_comes_back(shop: Corner) -> None:
    removed = save_quiz(shop.connection, WITHOUT_Q2, NOW_MS)
    again = save_quiz(shop.connection, WITHOUT_Q2, NOW_MS)
    back = save_quiz(shop.connection, QUIZ, NOW_MS)

    assert (removed.former_questions, again) == (["q2"], removed)
    assert get_quiz(shop.connection, "iq") == back
    assert (back.version, back.former_questions) == (3, [])
    assert shop.told("quizzes")[-2:] == [removed, back]


def test_removed_questions_are_bounded_and_the_first_go_first(shop: Corner) -> None:
    for begin in (0, 500, 1000):
        questions = [Question(f"q{n}") for n in range(begin, begin + 500)]
        quiz = save_quiz(shop.connection, changed(QUIZ, questions=questions), NOW_MS)

    assert quiz.former_questions == [f"q{n}" for n in range(500, 1000)]


def test_a_restored_catalogue_remembers_removed_questions(shop: Corner) -> None:
    shop.make_topics("tenants", "quizzes", "tokens", "campaigns", "webhook_keys")
    before = get_quiz(shop.connection, "iq")
    newer = save_quiz(shop.connection, WITHOUT_Q2, NOW_MS)
    shop.produce("quizzes", [newer], b"iq")
    shop.rows("DELETE FROM quizzes RETURNING 1")
    save_quiz(shop.connection, QUIZ, NOW_MS)
    assert get_quiz(shop.connection, "iq") == before

    assert restore_catalogue(shop.connection, shop.topology, shop.bootstrap) == 1

    assert get_quiz(shop.connection, "iq") == newer
    assert newer.former_questions == ["q2"]


def test_a_quiz_without_listed_questions_lets_campaigns_use_any_answer(shop: Corner) -> None:
    save_quiz(shop.connection, changed(QUIZ, quiz_id="any", questions=[]), NOW_MS)

    assert saved(shop, changed(NEEDS_Q2, quiz_ids=["any"])).version == 1
    other = changed(NEEDS_Q2, campaign_id="both", quiz_ids=["iq", "any"])
    assert saved(shop, other).version == 1
    # A list without what a campaign uses is a removal like any other.
    with pytest.raises(QuizRejected, match="needy"):
        save_quiz(shop.connection, changed(WITHOUT_Q2, quiz_id="any"), NOW_MS)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"conditions": [Condition("answers. ", "exists")]}, "no such question"),
        ({"message": Message("text", text="{x}", variables=[Variable("x", "answers. ", "-")])}, "no source"),
        (
            {"message": Message("text", text="{x}", variables=[Variable("x", "answers.q2")])},
            "needs a fallback",
        ),
    ],
)
def test_what_it_uses_is_checked_all_the_same(shop: Corner, changes: dict[str, Any], problem: str) -> None:
    save_quiz(shop.connection, changed(QUIZ, quiz_id="any", questions=[]), NOW_MS)

    with pytest.raises(CampaignRejected, match=problem):
        saved(shop, changed(PLAIN, quiz_ids=["any"], **changes))


def test_what_no_topic_takes_is_not_saved(shop: Corner) -> None:
    """Its event would wait in the outbox for ever."""
    long = changed(QUIZ, questions=[Question("q1", text="?" * 2000)])
    with pytest.raises(QuizRejected, match="at most 1,000 are possible"):
        save_quiz(shop.connection, long, NOW_MS, 1_000)
    save_quiz(shop.connection, long, NOW_MS, 3_000)
    draft = changed(PLAIN, message=Message("text", text="!" * 2000))
    limits = shop.topology.campaigns
    with pytest.raises(CampaignRejected, match="at most 1,000 are possible"):
        save_campaign(shop.connection, draft, limits, NOW_MS, 1_000)
    save_campaign(shop.connection, draft, limits, NOW_MS, 3_000)
    assert cancel_campaign(shop.connection, "plain", NOW_MS).version == 2
