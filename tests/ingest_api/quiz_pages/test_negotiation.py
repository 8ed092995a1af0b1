"""Which form of a page a request is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.quiz_pages.negotiation import is_unchanged, wants_json
from ingest_api.quiz_pages.texts import BY_LANGUAGE, language_of


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"application/json", True),
        (b"application/json, text/plain, */*", True),
        (b"application/problem+json", True),
        (b"text/html;q=0.5, application/json", True),
        (b"APPLICATION/JSON ; q=1", True),
        (b"", False),
        (b"*/*", False),
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        (b"application/json;q=0", False),
        (b"application/json;q=nan", False),
        (b"application/json;q=x", False),
        (b"application/json;q=0.5, */*", False),
        (b"text/html, application/json", False),
    ],
)
def test_json_only_for_a_client_that_prefers_it(accept: bytes, expected: bool) -> None:
    assert wants_json(accept) is expected


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_any_header_has_an_answer(accept: bytes, if_none_match: bytes) -> None:
    wants_json(accept)
    is_unchanged(if_none_match, b'"e"')
    assert language_of(accept.decode("latin-1")) in BY_LANGUAGE


@pytest.mark.parametrize(
    ("header", "unchanged"),
    [
        (b'"e"', True),
        (b'W/"e"', True),
        (b'"a", "e"', True),
        (b'"a","e","b"', True),
        (b"*", True),
        (b'"a"', False),
        (b"e", False),
        (b"", False),
    ],
)
def test_a_validator_matches_in_any_list_and_also_weak(header: bytes, unchanged: bool) -> None:
    assert is_unchanged(header, b'"e"') is unchanged


@pytest.mark.parametrize(
    ("header", "language"),
    [("", "pt-BR"), ("en", "en"), ("de, en;q=0.7", "en"), ("pt-PT, en", "pt-BR"), ("fr", "pt-BR")],
)
def test_a_problem_has_the_first_language_that_there_is(header: str, language: str) -> None:
    assert language_of(header) == language
