"""What is promised in words is held by tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
GUARANTEES = CHECKOUT / "docs" / "guarantees.md"


def test_every_sentence_names_a_test_that_is_there() -> None:
    text = GUARANTEES.read_text()
    promises = re.split(r"\n- ", text.partition("## Promised")[2])[1:]
    assert len(promises) > 20
    for promise in promises:
        links = re.findall(r"\]\(\.\./([^)]+)\)", promise)
        assert links or "Link faults" in promise, promise
        for link in links:
            assert (CHECKOUT / link).exists(), link
