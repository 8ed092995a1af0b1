"""Which form of a page a request is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.quiz_pages.negotiation import accepts_gzip, is_unchanged, wants_html, wants_json
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


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        (b"text/html", True),
        (b"", False),
        (b"*/*", False),
        (b"application/json", False),
        (b"text/html;q=0.5, application/json", False),
        (b"text/html;q=0", False),
    ],
)
def test_a_browser_names_html(accept: bytes, expected: bool) -> None:
    assert wants_html(accept) is expected


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (b"gzip", True),
        (b"*", True),
        (b"br, *;q=0.1", True),
        (b"*;q=0, gzip", True),
        (b"*;q=0, gzip;q=0.001", True),
        (b"*, gzip;q=0", False),
        (b"gzip;q=0, *", False),
        (b"gzip;q=0", False),
        (b"*;q=0", False),
        (b"identity", False),
        (b"br", False),
        (b"", False),
        (b"X-GZIP", True),
    ],
)
def test_a_coding_that_is_named_counts_before_all_others(accept_encoding: bytes, expected: bool) -> None:
    assert accepts_gzip(accept_encoding) is expected


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_any_header_has_an_answer(accept: bytes, if_none_match: bytes) -> None:
    wants_json(accept)
    wants_html(accept)
    accepts_gzip(accept)
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
