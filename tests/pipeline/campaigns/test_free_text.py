"""What a stranger typed carries no link, no line break and nothing that reorders a tenant's message."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.campaigns.free_text import in_lines, in_one_line, is_address, without_links
from pipeline.campaigns.message import LINK_REMOVED, TOO_LONG, NotRenderable, Rendered, check, render
from schemas.records import Message, Personal, Question, Quiz, Variable

LINKS = [
    "http://evil.example/x",
    "HTTPS://EVIL.EXAMPLE",
    "whatsapp://send?phone=5511987654321",
    "//evil.example/x",
    "(https://evil.example)",
    "www.evil.anything",
    "evil.com",
    "EVIL.COM.BR",
    "bit.ly/3xYz",
    "wa.me/5511987654321",
    "t.me",
    "evil.ninja/x",
    "evil.ninja?x=1",
    "xn--80ak6aa92e.xn--p1ai",
    "médico.com",
    "ana@evil.com",
    "evil.com.",
    "«evil.com»",
    "evil\u200b.com",
    "evil\u3002com",
    "\uff45\uff56\uff49\uff4c\uff0e\uff43\uff4f\uff4d",
    "evil\u2024com",
    "198.51.100.7",
    "198.51.100.7:8080",
]


@pytest.mark.parametrize("link", LINKS)
def test_a_link_is_removed_and_the_words_around_it_stay(link: str) -> None:
    assert without_links(link) == ""
    assert without_links(f"Ana {link} Maria") == "Ana Maria"


@pytest.mark.parametrize(
    "text",
    [
        "Ana Maria",
        "José da Silva Jr.",
        "D. Pedro II",
        "A. B. de Souza",
        "R$ 1.234,56",
        "3.14",
        "10.000.000.000",
        "12:30",
        "e/ou",
        "ele(a)",
        "nota: 10",
        "sim...",
        "50% / 50%",
        "@ana",
        "O'Brien-Smith",
        "👩‍👩‍👧 família ❤️",
    ],
)
def test_what_is_no_link_stays_as_it_is(text: str) -> None:
    assert without_links(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Sr.João", "Sr. João"),
        ("J.Silva", "J. Silva"),
        ("oi.tudo bem", "oi. tudo bem"),
        ("a.ninja", "a. ninja"),
        ("はい。いいえ", "はい. いいえ"),
    ],
)
def test_a_dot_inside_a_word_is_separated_so_that_no_application_makes_a_link_of_it(
    text: str, shown: str
) -> None:
    assert without_links(text) == shown
    assert without_links(shown) == shown


def test_no_latin_letter_hides_a_dot_or_a_slash() -> None:
    """Texts of these characters alone are not searched for links."""
    for character in map(chr, range(0x250)):
        hidden = set(unicodedata.normalize("NFKC", character)) & set("./")
        assert not hidden or character in "./"


def test_line_breaks_and_what_reorders_text_are_removed() -> None:
    assert in_one_line("Ana\r\n\tMaria\u2028da\u0085Silva\x0b \x00x") == "Ana Maria da Silva x"
    assert in_one_line("\u202eanA\u202c \u2067x\u2069") == "anA x"
    assert in_one_line("👩\u200d👧") == "👩\u200d👧"
    assert in_lines(" a \n\n\tb\r\nc\u202e ") == "a\nb\nc"


@pytest.mark.parametrize(
    "address", ["ana@example.com", "ana.maria+quiz@mail.example.com.br", "joão@exemplo.com"]
)
def test_an_address_is_an_address(address: str) -> None:
    assert is_address(address)


@pytest.mark.parametrize(
    "text", ["http://evil.example/@x.y", "ana@evil.example/x", "ana", "a b@c.de", "a@b", "a@b.c\nd@e.fg"]
)
def test_what_only_looks_like_an_address_is_none(text: str) -> None:
    assert not is_address(text)


PIECES = st.lists(
    st.sampled_from([*LINKS, "Ana", ".", "com", "/", ":", "http", "\n", " ", "é", "@", "www", "1"])
)


@given(PIECES)
def test_nothing_that_is_put_together_of_pieces_becomes_a_link(pieces: list[str]) -> None:
    once = without_links(in_one_line("".join(pieces)))
    assert without_links(once) == once
    assert "://" not in once
    assert not any(word.lower().endswith(".com") for word in once.split())


@given(st.text(max_size=60))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    for clean in (in_one_line, in_lines, lambda t: without_links(in_one_line(t))):
        assert clean(clean(text)) == clean(text)
    assert "\n" not in in_one_line(text)


@pytest.mark.parametrize("piece", ["a", "a.", "a-", ".", "1.", "a@", "w.w", "é.", "://", "a.é"])
def test_a_long_text_costs_no_more_than_its_length(piece: str) -> None:
    """Not a measurement: a pattern of square cost would need hours for this text."""
    began_s = time.process_time()
    without_links(in_one_line(piece * 200_000))
    assert time.process_time() - began_s < 60


NAME = Variable("name", "contact.name", fallback="you")
GREETING = Message("text", text="Hello {name}!", variables=[NAME])


def shown_for(name: str, **allowed: object) -> str | None:
    variable = Variable("name", "contact.name", fallback="you", **allowed)  # type: ignore[arg-type]
    answer = render(Message("text", text="Hello {name}!", variables=[variable]), {}, Personal(name=name))
    assert isinstance(answer, Rendered)
    return answer.text


def test_a_name_with_a_link_greets_without_it_and_a_name_that_is_a_link_gives_way_to_the_fallback() -> None:
    assert shown_for("Ana https://evil.example") == "Hello Ana!"
    assert shown_for("evil.com") == "Hello you!"
    assert shown_for("Ana\n\nYour account is blocked") == "Hello Ana Your account is blocked!"
    answer = render(GREETING, {}, Personal(name="evil.com"))
    assert isinstance(answer, Rendered)
    assert answer.changes == (LINK_REMOVED,)


def test_each_variable_may_allow_them() -> None:
    assert shown_for("evil.com", links_allowed=True) == "Hello evil.com!"
    assert shown_for("a\nb", line_breaks_allowed=True) == "Hello a\nb!"
    assert shown_for("a\nb", links_allowed=True) == "Hello a b!"
    assert shown_for("a\nevil.com\nb", line_breaks_allowed=True) == "Hello a\nb!"


def test_a_longer_text_than_the_variable_allows_gives_way_to_the_fallback() -> None:
    assert shown_for("x" * 100) == f"Hello {'x' * 100}!"
    assert shown_for("x" * 101) == "Hello you!"
    assert shown_for("x" * 101, chars_max=101) == f"Hello {'x' * 101}!"
    assert shown_for("xxx", chars_max=2) == "Hello you!"
    answer = render(GREETING, {}, Personal(name="x" * 101))
    assert isinstance(answer, Rendered)
    assert answer.changes == (TOO_LONG,)


def test_answers_are_strangers_text_and_a_template_takes_them_in_one_line() -> None:
    why = Variable("why", "answers.why", fallback="-")
    message = Message("text", text="{why}", variables=[why])
    answer = render(message, {"why": "because\nevil.com"}, Personal())
    assert answer == Rendered("text", text="because", changes=(LINK_REMOVED,))
    template = Message("template", template="t", variables=[why])
    in_template = render(template, {"why": "see http://evil.example"}, Personal())
    assert in_template == Rendered("template", template="t", language="pt_BR", parameters=("see",),
                                   changes=(LINK_REMOVED,))  # fmt: skip


def test_an_address_stays_and_what_only_looks_like_one_does_not() -> None:
    message = Message("text", text="{mail}", variables=[Variable("mail", "contact.email", fallback="-")])
    kept = render(message, {}, Personal(email="ana@example.com"))
    assert kept == Rendered("text", text="ana@example.com")
    replaced = render(message, {}, Personal(email="http://evil.example/@x.y"))
    assert replaced == Rendered("text", text="-", changes=(LINK_REMOVED,))


def test_what_the_tenant_wrote_is_not_touched() -> None:
    quiz = Quiz("q", "t", 1, "quiz.com", [Question("one")], 0)
    message = Message(
        "text",
        text="https://acme.example\n{title} {name}",
        variables=[
            Variable("title", "quiz.title"),
            Variable("name", "contact.name", fallback="acme.example"),
        ],
    )
    assert check(message, quiz) == []
    answer = render(message, {"title": "quiz.com"}, Personal())
    assert answer == Rendered("text", text="https://acme.example\nquiz.com acme.example")


@pytest.mark.parametrize(
    ("variable", "why"),
    [
        (Variable("x", "contact.name", "-", chars_max=0), "between 1 and 4096"),
        (Variable("x", "contact.name", "-", chars_max=4097), "between 1 and 4096"),
        (Variable("x", "quiz.title", chars_max=5), "are for names"),
        (Variable("x", "score", "-", links_allowed=True), "are for names"),
        (Variable("x", "score", "-", line_breaks_allowed=True), "are for names"),
    ],
)
def test_a_permission_without_a_meaning_is_refused(variable: Variable, why: str) -> None:
    quiz = Quiz("q", "t", 1, "The quiz", [Question("one")], 0)
    problems = check(Message("text", text="{x}", variables=[variable]), quiz)
    assert len(problems) == 1
    assert why in problems[0]


HOSTILE = st.one_of(st.text(max_size=200), PIECES.map("".join))


@given(HOSTILE, HOSTILE)
def test_whatever_strangers_write_a_message_is_short_and_of_one_line(name: str, answer: str) -> None:
    why = Variable("why", "answers.why", fallback="nothing")
    message = Message("text", text="{name}: {why}", variables=[NAME, why])
    rendered = render(message, {"why": answer}, Personal(name=name))
    assert not isinstance(rendered, NotRenderable)
    assert rendered.text is not None
    assert len(rendered.text.splitlines()) == 1
    assert len(rendered.text) <= 202
    assert "://" not in rendered.text
