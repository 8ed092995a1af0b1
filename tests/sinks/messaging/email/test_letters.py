"""An e-mail's headers and text: nothing that a contact typed becomes a header."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.campaigns.message import Rendered
from sinks.messaging.email.connections import _as_data
from sinks.messaging.email.letters import SUBJECT_CHARS_MAX, address_of, letter, subject_of

ATTEMPT = "1c9a3e0e-8f5c-4e6e-9d39-0f3f5c7d1b11"
URL = "https://edge.example.com/webhooks/smtp?n=news%40acme.example&a=" + "a" * 36 + "&s=" + "0" * 32
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEADERS = {
    *("From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post"),
    *("Auto-Submitted", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
}


def read(message: Rendered) -> EmailMessage:
    raw = letter("news@acme.example", "ana@example.com", message, ATTEMPT, URL, NOW)
    found = message_from_bytes(raw, policy=default)
    assert isinstance(found, EmailMessage)
    return found


def test_a_letter() -> None:
    mail = read(Rendered("text", text="Olá, Ana!\n.\nAté já", subject="Seu resultado: ção"))
    assert mail["From"] == "news@acme.example"
    assert mail["To"] == "ana@example.com"
    assert mail["Subject"] == "Seu resultado: ção"
    assert mail["Message-ID"] == f"<{ATTEMPT}@acme.example>"
    assert mail["List-Unsubscribe"] == f"<{URL}>"
    assert f"\r\nList-Unsubscribe: <{URL}>\r\n".encode() in letter(
        "news@acme.example", "ana@example.com", Rendered("text", text="t"), ATTEMPT, URL, NOW
    )
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail.get_content().splitlines() == ["Olá, Ana!", ".", "Até já"]


@given(text=st.text(max_size=300), subject=st.none() | st.text(max_size=200))
def test_no_text_adds_a_header_or_a_line_of_the_protocol(text: str, subject: str | None) -> None:
    message = Rendered("text", text=text, subject=subject)
    assert set(read(message).keys()) == HEADERS
    raw = letter("news@acme.example", "ana@example.com", message, ATTEMPT, "https://e/u", NOW)
    sent = _as_data(raw)
    assert sent.endswith(b"\r\n.\r\n")
    assert b"\r\n.\r\n" not in sent[:-5]
    assert b"\n" not in sent.replace(b"\r\n", b"")
    assert b"\r" not in sent.replace(b"\r\n", b"")


HOSTILE = st.one_of(
    st.text(alphabet='ab.@=?"<>\r\n\t\0 ,;:()[]\\\\é😀_-{|}', max_size=60),
    st.text(max_size=300),
    st.builds(
        "{}=?{}?{}?{}?={}@{}".format,
        st.sampled_from(["", "a", '"']),
        st.sampled_from(["utf-8", "UTF-8*en", "unknown-8bit", "x"]),
        st.sampled_from("qbQB"),
        st.text(alphabet="=0AD2C40aZ_+/", max_size=40),
        st.sampled_from(["", "b", "\r\nBcc: eve@evil.example"]),
        st.sampled_from(["example.com", "x" * 250 + ".com", "é.com"]),
    ),
    st.from_regex(r"[a-z=?!#$%&'*+/^_`{|}~.-]{1,70}@[a-z-]{1,20}\.(com|example)", fullmatch=True),
)


@given(HOSTILE)
@example("=?utf-8?q?eve=40evil.example?=@example.com")
@example("=?utf-8?q?a=2C?=@example.com")
@settings(max_examples=400)
def test_a_letter_goes_to_the_address_that_was_written_or_to_none(written: str) -> None:
    address = address_of(written)
    if address is None:
        return
    raw = letter("news@acme.example", address, Rendered("text", text="t"), ATTEMPT, URL, NOW)
    assert address == written.strip().lower()
    assert raw.split(b"\r\n")[:2] == [b"From: news@acme.example", f"To: {address}".encode()]
    mail = message_from_bytes(raw, policy=default)
    assert [each.addr_spec for each in mail["To"].addresses] == [address]
    assert set(mail.keys()) == HEADERS


@pytest.mark.parametrize(
    "subject",
    [
        "=?utf-8?q?x=0D=0ABcc:_eve=40evil.example?=",
        "=?utf-8?q?=00?=",
        "win =?utf-8?b?cHJpemU=?= now",
        "=?utf-8?q?a?= " + "é" * 120,
    ],
)
def test_a_subject_is_shown_as_it_was_written(subject: str) -> None:
    assert read(Rendered("text", text="t", subject=subject))["Subject"] == subject_of(
        Rendered("text", subject=subject)
    )


def test_the_subject_is_the_messages_own_or_the_first_line_of_its_text() -> None:
    assert subject_of(Rendered("text", text="a\nb", subject="s")) == "s"
    assert subject_of(Rendered("text", text=" first \nsecond")) == "first"
    assert len(subject_of(Rendered("text", text="x" * 500))) == SUBJECT_CHARS_MAX
    assert subject_of(Rendered("text", text="t", subject="a\r\nBcc: eve@example.com")) == "a"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (" Ana.Silva+quiz@Example.COM ", "ana.silva+quiz@example.com"),
        ("a@b.co", "a@b.co"),
        ("a@b", None),
        ("a b@example.com", None),
        ("a@example.com\r\nRCPT TO:<eve@example.com>", None),
        ("a@example.com,eve@example.com", None),
        ("<a@example.com>", None),
        ("josé@example.com", None),
        (".a@example.com", None),
        ("a" * 65 + "@example.com", None),
        ("a@" + "b" * 250 + ".com", None),
        ("=?utf-8?q?eve=40evil.example?=@example.com", None),
    ],
)
def test_an_address(written: str, address: str | None) -> None:
    assert address_of(written) == address
