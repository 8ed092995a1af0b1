"""Which stored copies of a page are those of this release and these settings."""

from __future__ import annotations

from ingest_api.quiz_pages.assets import Assets
from ingest_api.quiz_pages.render import Renderer


def test_copies_of_another_setting_are_not_used() -> None:
    """A page states how long an answer may be: with another limit its copies in Valkey are wrong."""
    one, same, other = (Renderer(Assets(), chars_max).fingerprint for chars_max in (200, 200, 100))
    assert one == same
    assert one != other
