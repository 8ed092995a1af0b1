"""Text that strangers wrote, made fit for a message that is sent in a tenant's name.

Names and answers come from a public page. Without these rules a stranger could have a tenant's number send a
link of theirs to any phone. All functions are pure, and linear in the text's length.
"""

from __future__ import annotations

import re
import unicodedata

FREE_TEXT_CHARS_MAX = 100  # of one value, where its variable sets no `chars_max`

# Top-level domains that applications turn into links without a scheme; every pair of letters is one too.
# A dot before any other word is separated from it instead, so a missing name here makes no link.
TOP_LEVEL_DOMAINS = (
    "com net org info biz app dev xyz top site online store shop link click live page club vip win bet work "
    "space website tech pro cloud blog news chat fun icu buzz loan gov edu mil name mobi tel travel digital"
)

# Format characters that change the order of the text around them.
ORDER_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
IDEOGRAPHIC_DOTS = str.maketrans("\u3002\uff61", "..")  # in a host name the same as a dot

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_LINK = re.compile(
    r"://|^//|\bwww\."
    rf"|\w\.(?:[a-z]{{2}}|xn--[a-z0-9-]+|{TOP_LEVEL_DOMAINS.replace(' ', '|')})(?!\w)"
    r"|\w\.[^\W\d_]{2,}[/:?#]\S"
    rf"|(?<![\w.]){_OCTET}(?:\.{_OCTET}){{3}}(?![\w.])",
    re.IGNORECASE,
)
# Without any of these a text has no link: no character up to U+024F is compatible with a dot or a slash.
_SUSPICIOUS = re.compile("[./\u0250-\U0010ffff]")
_DOTTED = re.compile(r"(?<=\w)\.(?=[^\W\d_]{2})")
_ADDRESS = re.compile(r"[\w.!#$%&'*+=?^`|~-]+@[\w-]+(?:\.[\w-]+)+")


def in_one_line(text: str) -> str:
    """The text without line breaks, tabs, doubled spaces, controls and characters that reorder it."""
    if text.isprintable():
        return " ".join(text.split()) if "  " in text or text[:1] == " " or text[-1:] == " " else text
    return " ".join("".join(c for c in text if not _is_steering(c)).split())


def in_lines(text: str) -> str:
    """As `in_one_line` for each of its lines; empty lines are left out."""
    lines = (in_one_line(line) for line in text.splitlines())
    return "\n".join(line for line in lines if line)


def without_links(text: str) -> str:
    """The text without each word that an application may show as a link.

    A dot inside any other word is followed by a space: `J.Silva` becomes `J. Silva`.
    """
    if _SUSPICIOUS.search(text) is None:
        return text
    lines = (_without_links_in_line(line) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def is_address(text: str) -> bool:
    """True for what can only be an e-mail address: no scheme, no path."""
    return _ADDRESS.fullmatch(text) is not None


def _without_links_in_line(line: str) -> str:
    words = (_unlinked(word) for word in line.split(" "))
    return " ".join(word for word in words if word)


def _unlinked(word: str) -> str:
    if _SUSPICIOUS.search(word.rstrip(".")) is None:
        return word
    plain = _as_compared(word)
    if _LINK.search(plain):
        return ""
    return _DOTTED.sub(". ", plain) if _DOTTED.search(plain) else word


def _as_compared(word: str) -> str:
    """Without what the eye does not see: compatibility forms of letters and dots, invisible characters."""
    if word.isascii():
        return word
    normal = unicodedata.normalize("NFKC", word).translate(IDEOGRAPHIC_DOTS)
    return "".join(c for c in normal if unicodedata.category(c) != "Cf")


def _is_steering(character: str) -> bool:
    return character in ORDER_MARKS or (unicodedata.category(character) == "Cc" and not character.isspace())
