"""The page of a quiz is saved with it, as a part of its version."""

from __future__ import annotations

import msgspec
import pytest

from ops.deployment.seed import SEEDS, read
from schemas.quiz_page import Asked, Choice, ContactForm, Number, Option, QuizPage, Scale
from schemas.records import Question
from sinks.postgres.catalogue.catalogue import QuizDraft, QuizRejected, save_quiz, save_tenant
from sinks.postgres.catalogue.quizzes import get_page
from tests.support.samples import NOW_MS
from tests.support.sinks import Corner

LONG = Choice([Option(f"{number}", "x" * 300) for number in range(350)])
PAGE = QuizPage(intro="Hi", asked=[Asked(["q1"], Scale(1, 5, "low", "high"))])
QUIZ = QuizDraft("iq", "demo", "A quiz", [Question("q1", right_answer="4"), Question("q2")], page=PAGE)


@pytest.fixture
def shop(corner: Corner) -> Corner:
    save_tenant(corner.connection, "demo", "A tenant")
    return corner


def test_a_changed_page_is_a_new_version_and_the_same_page_is_not(shop: Corner) -> None:
    versions = [
        save_quiz(shop.connection, msgspec.structs.replace(QUIZ, page=page), NOW_MS).version
        for page in (PAGE, PAGE, QuizPage(intro="Hello"), None, PAGE)
    ]
    assert versions == [1, 1, 2, 3, 4]
    assert get_page(shop.connection, "iq") == PAGE
    assert [quiz.version for quiz in shop.told("quizzes")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        (QuizPage(asked=[Asked(["q3"], Number())]), '"q3", which is not a question'),
        (QuizPage(asked=[Asked(["q1"], Number()), Asked(["q1"], Number())]), 'two inputs for "q1"'),
        (QuizPage(asked=[Asked(["q1"], Scale(1, 1, "a", "b"))]), "must have 2 to 11 steps"),
        (QuizPage(asked=[Asked(["q1"], Scale(0, 11, "a", "b"))]), "must have 2 to 11 steps"),
        (QuizPage(asked=[Asked(["q1"], Number(5, 4))]), "is above the highest"),
        (
            QuizPage(asked=[Asked(["q1"], Choice([Option("a", "A"), Option("a", "B")]))]),
            "have the same value",
        ),
        (QuizPage(contact=ContactForm(["name", "name"])), "a contact field twice"),
        (QuizPage(intro="\x00"), "U+0000"),
        (QuizPage(asked=[Asked(["q1", "q2"], LONG)]), "at most 200000 are possible"),
    ],
)
def test_a_page_that_cannot_be_shown_is_rejected(shop: Corner, page: QuizPage, problem: str) -> None:
    with pytest.raises(QuizRejected, match=problem.replace("+", r"\+")):
        save_quiz(shop.connection, msgspec.structs.replace(QUIZ, page=page), NOW_MS)


def test_a_new_quiz_has_no_id_whose_page_would_be_the_json_of_another(shop: Corner) -> None:
    with pytest.raises(QuizRejected, match="it would have no page"):
        save_quiz(shop.connection, msgspec.structs.replace(QUIZ, quiz_id="iq.json"), NOW_MS)
    assert shop.rows("SELECT quiz_id FROM quizzes") == []
    assert save_quiz(shop.connection, msgspec.structs.replace(QUIZ, quiz_id="iq.jsonl"), NOW_MS).version == 1


@pytest.mark.parametrize("accent", ["#0b6e69\n", "#0B6E69", "0b6e69", "#0b6e6", "red;}"])
def test_a_colour_is_six_hexadecimal_digits(accent: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"accent": accent}, QuizPage)


def test_a_tenant_keeps_its_language_unless_it_gets_another(shop: Corner) -> None:
    def language() -> object:
        return shop.rows("SELECT language FROM tenants WHERE tenant_id = 'demo'")[0][0]

    assert language() == "pt-BR"
    assert save_tenant(shop.connection, "demo", "A tenant", "en")
    assert not save_tenant(shop.connection, "demo", "A tenant")
    assert language() == "en"
    assert save_tenant(shop.connection, "demo", "Another name")
    assert language() == "en"


def test_every_question_of_the_demo_has_an_input() -> None:
    for quiz in read(SEEDS / "quizzes.yaml", list[QuizDraft]):
        assert quiz.page is not None
        asked = [question for one in quiz.page.asked for question in one.questions]
        assert asked == [question.question_id for question in quiz.questions]
