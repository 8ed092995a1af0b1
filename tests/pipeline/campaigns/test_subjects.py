"""The subject of an e-mail: checked when the campaign is saved, and filled in for each contact."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.campaigns.channels import text_of
from pipeline.campaigns.message import Rendered, check, render
from schemas.records import ChannelText, Message, Personal, Variable

NAME = Variable("name", "contact.name", fallback="you")
TEMPLATE = Message("template", template="ola", variables=[NAME])
MAIL = Message("text", text="Hello", variables=[NAME], subject="{name}, welcome")


def test_a_subject_is_filled_in_on_the_first_and_on_a_further_channel() -> None:
    assert check(MAIL, None) == []
    expected = Rendered("text", text="Hello", subject="Ana, welcome")
    assert render(MAIL, {}, Personal(name="Ana")) == expected
    further = text_of(TEMPLATE, ChannelText("email", "Hello", subject="{name}, welcome"))
    assert render(further, {}, Personal(name="Ana")) == expected


def test_a_subject_is_one_line_whatever_the_contact_typed() -> None:
    mail = render(MAIL, {}, Personal(name="Ana\r\nBcc: eve@example.com"))
    assert isinstance(mail, Rendered)
    assert mail.subject is not None
    assert mail.subject.isprintable()


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        (" ", "the subject is empty: leave it out or write one"),
        ("{nome}", "{nome} has no variable of that name"),
        ("a } b", "a brace in the subject opens or closes no {variable}"),
        ("x" * 151, "the subject is longer than 150 characters"),
        ("a\r\nBcc: eve@example.com", "the subject holds a line break or a control character"),
    ],
)
def test_a_subject_that_cannot_be_sent_is_rejected_when_the_campaign_is_saved(
    subject: str, problem: str
) -> None:
    message = msgspec.structs.replace(MAIL, text="Hello {name}", subject=subject)
    assert problem in check(message, None)
