"""What is refused when saved, and that nothing half filled is ever rendered."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.campaigns.message import (
    REJECTED,
    TOO_LONG,
    NotRenderable,
    Rendered,
    Sizes,
    check,
    has_fallbacks,
    is_blank,
    render,
)
from schemas.records import Message, Personal, Question, Quiz, Variable

QUIZ = Quiz("q", "t", 1, "The quiz", [Question("one", right_answer="a"), Question("two")], 0)
KEYLESS = Quiz("q", "t", 1, "The quiz", [Question("one"), Question("two")], 0)
NAME = Variable("name", "contact.name", fallback="you")


def text(body: str | None, *variables: Variable) -> Message:
    return Message(kind="text", text=body, variables=list(variables))


GOOD = [
    text("Hello"),
    text("Hello {name}", NAME),
    text("{name}", NAME),
    text("{score}", Variable("score", "score")),
    text("{title}", Variable("title", "quiz.title")),
    Message(kind="image", image_url="https://example.com/a.png"),
    Message(kind="image", image_url="https://example.com/a.png", text="Look, {name}", variables=[NAME]),
    Message(kind="image", image_url="http://127.0.0.1:8610/a.png"),
    Message(kind="template", template="welcome_2"),
    Message(kind="template", template="welcome_2", variables=[NAME]),
]

BAD = [
    (text(None), "needs a text"),
    (text(""), "empty"),
    (text(" \n\u200b "), "empty"),
    (text("Hello {name}"), "no variable of that name"),
    (text("Hello {}"), "no variable of that name"),
    (text("Hello { name}", NAME), "no variable of that name"),
    (text("Hello {name", NAME), "brace"),
    (text("Hello name}"), "brace"),
    (text("Hello {{name}}", NAME), "brace"),
    (text("Hello", NAME), "not used"),
    (text("{name}", Variable("name", "contact.name")), "needs a fallback"),
    (text("{mail}", Variable("mail", "contact.email")), "needs a fallback"),
    (text("{one}", Variable("one", "answers.one")), "needs a fallback"),
    (text("{name}", Variable("name", "contact.name", fallback=" ")), "fallback"),
    (text("{name}", Variable("name", "contact.name", fallback="\u3164")), "fallback"),
    (text("{name}", Variable("name", "contact.name", fallback="null")), "fallback"),
    (text("{name}", Variable("name", "contact.name", fallback="{name}")), "fallback"),
    (text("{x}", Variable("x", "contact.phone", fallback="y")), "no source"),
    (text("{x}", Variable("x", "answers.", fallback="y")), "no source"),
    (text("{x}", Variable("x", "answers.three", fallback="y")), "no question"),
    (text("{name}", NAME, NAME), "twice"),
    (text("x" * 4097), "longer"),
    (Message(kind="text", text="a", template="b"), "has no template"),
    (Message(kind="text", text="a", image_url="https://example.com/a.png"), "no image_url"),
    (Message(kind="image", text="a"), "needs an image_url"),
    (Message(kind="image", image_url="http://example.com/a.png"), "https"),
    (Message(kind="image", image_url="file:///etc/passwd"), "not a URL"),
    (Message(kind="image", image_url="https://example.com/{name}.png"), "not a URL"),
    (Message(kind="image", image_url="https://example.com/a.png", text="x" * 1025), "longer"),
    (Message(kind="template"), "needs its name"),
    (Message(kind="template", template="No Such Name"), "needs its name"),
    (Message(kind="template", template="ok", language="portuguese"), "language"),
    (Message(kind="template", template="ok", text="hello"), "leave text out"),
    (Message(kind="template", template="ok", variables=[Variable("n", "contact.name")]), "fallback"),
]


@pytest.mark.parametrize("message", GOOD)
def test_a_whole_message_is_accepted_and_renders_for_somebody_of_whom_nothing_is_known(
    message: Message,
) -> None:
    assert check(message, QUIZ) == []
    values = {v.name: "8" for v in message.variables if v.source in ("score", "quiz.title")}
    assert isinstance(render(message, values, Personal()), Rendered)


@pytest.mark.parametrize(("message", "why"), BAD)
def test_a_message_that_could_come_out_wrong_is_refused_when_saved(message: Message, why: str) -> None:
    assert any(why in problem for problem in check(message, QUIZ)), check(message, QUIZ)


def test_a_score_may_be_missing_where_the_quiz_has_no_key() -> None:
    message = text("{score}", Variable("score", "score"))
    assert check(message, QUIZ) == []
    assert "fallback" in check(message, KEYLESS)[0]
    assert "fallback" in check(message, None)[0]


@pytest.mark.parametrize("value", ["", "  ", "None", "null", "NaN", "undefined", "\u200b", "{{name}}", "a{b"])
def test_a_value_that_says_nothing_gives_way_to_the_fallback(value: str) -> None:
    message = text("Hello {name}!", NAME)
    assert render(message, {}, Personal(name=value)) == Rendered("text", text="Hello you!")


def test_without_a_value_and_without_a_fallback_nothing_is_rendered_and_the_value_is_not_in_the_reason() -> (
    None
):
    message = text("You have {score}", Variable("score", "score"))
    answer = render(message, {"score": "{secret"}, Personal())
    assert isinstance(answer, NotRenderable)
    assert "secret" not in answer.reason


def test_a_value_is_not_filled_again() -> None:
    message = text("{a} {b}", Variable("a", "answers.one", "x"), Variable("b", "answers.two", "y"))
    answer = render(message, {"a": "[b]", "b": "$a"}, Personal())
    assert answer == Rendered("text", text="[b] $a")


def test_template_parameters_keep_the_order_of_the_variables_and_one_line() -> None:
    message = Message(
        kind="template",
        template="t",
        variables=[Variable("b", "answers.two", "-"), NAME, Variable("a", "answers.one", "-")],
    )
    answer = render(message, {"a": "one\n\ttwo      three", "b": " x "}, Personal(name="Zé"))
    assert isinstance(answer, Rendered)
    assert answer.parameters == ("x", "Zé", "one two three")


def test_the_longest_value_of_a_text_that_grew_too_long_gives_way_to_its_fallback() -> None:
    long = Variable("long", "answers.one", "-", chars_max=4096)
    other = Variable("other", "answers.two", "-", chars_max=4096)
    message = text("{long} {other}", long, other)
    answer = render(message, {"long": "x" * 4000, "other": "y" * 100}, Personal())
    assert answer == Rendered("text", text="- " + "y" * 100, changes=(TOO_LONG,))
    fits = render(message, {"long": "x" * 3000, "other": "y" * 100}, Personal())
    assert fits == Rendered("text", text="x" * 3000 + " " + "y" * 100)
    neither = render(
        text("z" * 4093 + "{long}{other}", long, other), {"long": "xxx", "other": "yyy"}, Personal()
    )
    assert neither == Rendered("text", text="z" * 4093 + "--", changes=(TOO_LONG,))


def test_a_caption_and_a_parameter_that_are_too_long_give_way_to_the_fallback() -> None:
    long = Variable("one", "answers.one", "-", chars_max=4096)
    caption = Message(kind="image", image_url="https://example.com/a.png", text="{one}", variables=[long])
    answer = render(caption, {"one": "x" * 1025}, Personal())
    assert answer == Rendered("image", text="-", image_url="https://example.com/a.png", changes=(TOO_LONG,))
    template = Message(kind="template", template="t", variables=[long, NAME])
    answer = render(template, {"one": "x" * 1025}, Personal(name="Ana"))
    assert isinstance(answer, Rendered)
    assert (answer.parameters, answer.changes) == (("-", "Ana"), (TOO_LONG,))


def test_the_sizes_are_those_of_the_channel_that_sends() -> None:
    small = Sizes(text_chars_max=10, caption_chars_max=5, parameter_chars_max=3)
    answer = render(text("Hello {name}", NAME), {}, Personal(name="Maria"), small)
    assert answer == Rendered("text", text="Hello you", changes=(TOO_LONG,))
    template = Message(kind="template", template="t", variables=[NAME])
    answer = render(template, {}, Personal(name="Maria"), small)
    assert isinstance(answer, Rendered)
    assert answer.parameters == ("you",)
    # Too long by itself: left to the provider's check, whose rejections stop the campaign.
    assert isinstance(render(text("Hello, stranger"), {}, Personal(), small), Rendered)


def test_without_a_shorter_fallback_a_text_that_is_too_long_is_not_rendered() -> None:
    message = text("{title}", Variable("title", "quiz.title"))
    assert isinstance(render(message, {"title": "x" * 4097}, Personal()), NotRenderable)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (text("{title}", Variable("title", "quiz.title")), "the text is longer"),
        (
            Message(kind="template", template="t", variables=[Variable("title", "quiz.title")]),
            "quiz.title is longer",
        ),
        (text("x" * 4090 + "{score}", Variable("score", "score")), "the text is longer"),
        (text("{name}", Variable("name", "contact.name", fallback="x" * 4097)), "the text is longer"),
        (
            Message(kind="template", template="t", variables=[Variable("n", "contact.name", "x" * 1025)]),
            "the fallback is longer",
        ),
    ],
)
def test_a_message_that_would_be_too_long_for_everybody_is_refused(message: Message, why: str) -> None:
    quiz = Quiz("q", "t", 1, "T" * 4097, [Question("one", right_answer="a")], 0)
    assert any(why in problem for problem in check(message, quiz)), check(message, quiz)


@pytest.mark.parametrize(
    "value",
    ["\ufe0f", "\ufe0e\ufe0f", "\U000e0100", "\u0301", "\u0301\u0302 \u20e3", "\u034f", "\u0903", "\u180b"],
)
def test_marks_without_a_character_to_change_are_no_value(value: str) -> None:
    assert is_blank(value)
    assert render(text("Hello {name}!", NAME), {}, Personal(name=value)) == Rendered(
        "text", text="Hello you!"
    )
    assert check(text(value), QUIZ) == ["the text is empty: leave it out or write one"]
    assert "fallback" in check(text("{x}", Variable("x", "contact.name", fallback=value)), QUIZ)[0]


@pytest.mark.parametrize("value", ["e\u0301", "❤\ufe0f", "1\ufe0f\u20e3", "क\u093f"])
def test_a_character_with_its_marks_is_a_value(value: str) -> None:
    assert not is_blank(value)


SOURCES = ["contact.name", "contact.email", "score", "quiz.title", "answers.one", "answers.two"]
ANY_TEXT = st.text(max_size=30)
VARIABLES = st.lists(
    st.builds(
        Variable,
        name=st.sampled_from(["a", "b", "c"]),
        source=st.sampled_from(SOURCES),
        fallback=st.one_of(st.none(), ANY_TEXT, st.sampled_from(["x", "None", ""])),
    ),
    max_size=3,
)
TEMPLATE_TEXT = st.one_of(
    st.none(),
    st.lists(st.sampled_from(["{a}", "{b}", "{c}", "{d}", "{", "}", " ", "hi", "\u200b"]), max_size=6).map(
        "".join
    ),
)
MESSAGES = st.builds(
    Message,
    kind=st.sampled_from(["text", "image", "template"]),
    text=TEMPLATE_TEXT,
    template=st.one_of(st.none(), st.just("welcome")),
    image_url=st.one_of(st.none(), st.just("https://example.com/a.png")),
    variables=VARIABLES,
)
VALUES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.one_of(ANY_TEXT, st.sampled_from(["None", "{x}", " "]))
)
PERSONAL = st.builds(Personal, name=st.one_of(st.none(), ANY_TEXT), email=st.one_of(st.none(), ANY_TEXT))


@given(MESSAGES, VALUES, PERSONAL)
def test_whatever_is_rendered_is_whole(message: Message, values: dict[str, str], personal: Personal) -> None:
    answer = render(message, values, personal)
    if isinstance(answer, NotRenderable):
        return
    shown = [part for part in (answer.text, *answer.parameters) if part is not None]
    assert shown or answer.kind in ("image", "template")
    for part in shown:
        assert not is_blank(part)
        assert part == part.strip()
        assert "{" not in part
        assert "}" not in part
        part.encode()
    assert all(value.lower() not in ("none", "null") for value in answer.parameters)


@given(MESSAGES, VALUES, PERSONAL)
def test_what_was_accepted_renders_for_everybody(
    message: Message, values: dict[str, str], personal: Personal
) -> None:
    if check(message, QUIZ):
        return
    always = {v.name: "8" for v in message.variables if v.source in ("score", "quiz.title")}
    assert isinstance(render(message, values | always, personal), Rendered)


@given(st.text(alphabet=string.printable, max_size=50))
def test_only_the_invisible_is_blank(shown: str) -> None:
    assert is_blank(shown) == (shown.strip() == "")


def test_after_a_rejection_fallbacks_replace_what_the_contact_typed_and_nothing_else() -> None:
    message = text(
        "{name} {score} {title}", NAME, Variable("score", "score"), Variable("title", "quiz.title")
    )
    values = {"score": "7", "title": "Trees"}

    answer = render(message, values, Personal(name="Ana"), with_fallbacks=True)

    assert answer == Rendered("text", text="you 7 Trees", changes=(REJECTED,))
    assert has_fallbacks(message, values, Personal(name="Ana"))


@pytest.mark.parametrize("name", [None, "  ", "you", "x" * 101])
def test_a_message_that_already_has_its_fallbacks_has_none_left(name: str | None) -> None:
    assert not has_fallbacks(text("{name}", NAME), {}, Personal(name=name))


def test_a_message_without_texts_of_the_contact_has_no_fallbacks() -> None:
    message = text("{score}", Variable("score", "score", fallback="0"))
    assert not has_fallbacks(message, {"score": "7"}, Personal(name="Ana"))
    assert not has_fallbacks(message, {}, Personal(name="Ana"))
    without = Message("text", text="{name}", variables=[Variable("name", "contact.name")])
    assert not has_fallbacks(without, {}, Personal(name="Ana"))
    assert not has_fallbacks(without, {}, Personal())


@given(
    st.lists(st.sampled_from([NAME, Variable("name", "contact.name")]), max_size=1),
    st.one_of(st.none(), st.text(max_size=150)),
)
def test_a_message_with_its_fallbacks_has_nothing_of_the_contact(
    variables: list[Variable], name: str | None
) -> None:
    message = text("-{name}-" if variables else "-", *variables)
    answer = render(message, {}, Personal(name=name), with_fallbacks=True)
    if variables == [NAME] or not variables:
        assert isinstance(answer, Rendered)
        assert answer.text == ("-you-" if variables else "-")
        assert has_fallbacks(message, {}, Personal(name=name)) == (
            render(message, {}, Personal(name=name)) != answer and answer.changes == (REJECTED,)
        )
