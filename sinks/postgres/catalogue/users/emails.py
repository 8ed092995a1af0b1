"""The one written form of a user's e-mail address, by which a tenant has each user once."""

from __future__ import annotations

import unicodedata

EMAIL_CHARS_MAX = 254  # RFC 5321, 4.5.3.1.3: a path of 256 with its brackets


def normalised(written: str) -> str | None:
    """Return the address in small letters and composed (NFC); None where it is not an address."""
    text = unicodedata.normalize("NFC", written.strip()).lower()
    local, at, domain = text.rpartition("@")
    plain = text.isprintable() and " " not in text and "@" not in local
    whole = bool(at and local and domain.strip(".") == domain and domain)
    return text if plain and whole and len(text) <= EMAIL_CHARS_MAX else None
