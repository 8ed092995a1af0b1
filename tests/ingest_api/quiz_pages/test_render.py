"""Which stored copies of a page are those of this release and these settings."""

from __future__ import annotations

import pytest

from ingest_api.quiz_pages.assets import Assets
from ingest_api.quiz_pages.content import PublicQuestion, StoredQuiz
from ingest_api.quiz_pages.render import Renderer
from schemas.quiz_page import WHOLE_MAX, Asked, Number, QuizPage, Scale, problems


def test_copies_of_another_setting_are_not_used() -> None:
    """A page states how long an answer may be: with another limit its copies in Valkey are wrong."""
    one, same, other = (Renderer(Assets(), chars_max).fingerprint for chars_max in (200, 200, 100))
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("lowest", "highest"), [(1, 10**9), (0, 11), (5, 5), (9, 1), (-(10**30), 10**30)], ids=str
)
def test_a_scale_that_cannot_be_saved_is_shown_as_a_number(lowest: int, highest: int) -> None:
    """Each step is a button: a page of a thousand million would end the edge."""
    page = QuizPage(asked=[Asked(["q"], Scale(lowest, highest, "a", "b"))])
    assert list(problems(page, {"q": ""}))
    stored = StoredQuiz("z", 1, "Z", True, [PublicQuestion("q")], page, "en")
    rendered = Renderer(Assets(), 200).render(stored)
    assert b'type="number"' in rendered.html.body
    assert b'type="radio"' not in rendered.html.body
    assert rendered.size_bytes < 20_000


@pytest.mark.parametrize("end", [WHOLE_MAX + 1, -WHOLE_MAX - 1, 10**40])
def test_numbers_that_browsers_round_are_not_saved(end: int) -> None:
    for one in (Number(end, None), Number(None, end), Scale(end, end + 1, "a", "b")):
        (problem, *_) = problems(QuizPage(asked=[Asked(["q"], one)]), {"q": ""})
        assert str(WHOLE_MAX) in problem
