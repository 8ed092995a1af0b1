"""Tests of one group run in one process: they share a pipeline that takes half a minute to start."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="the tests run in one process (no -n)")
@pytest.mark.xdist_group("groups")
def test_the_scheduler_knows_the_group_of_a_test(request: pytest.FixtureRequest) -> None:
    """pytest-xdist schedules by this suffix; with pytest 9.2 it is missing."""
    assert request.node.nodeid.endswith("@groups")
