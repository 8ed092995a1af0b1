"""A suite that cannot fail proves nothing: with each guarantee broken on purpose, its tests must fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.embedded.stack import ServerUrls

CHECKOUT = Path(__file__).resolve().parents[2]
MUTANTS = Path(__file__).with_name("mutants")
TIMEOUT_S = 280.0

# Mutation -> the tests that hold what it breaks.
CAUGHT_BY = {
    "no-unique-key": (
        "tests/sinks/postgres/tables/test_deliveries.py::test_the_same_match_again_changes_nothing",
        "tests/sinks/postgres/tables/test_deliveries.py::test_another_completion_of_the_same_contact_is_a_duplicate",
    ),
    "no-calling-mark": (
        "tests/sinks/delivery/test_ledger.py::"
        "test_ten_claims_at_once_lease_each_delivery_once_and_ten_marks_of_one_lease_let_one_call",
    ),
    "delivery-not-awaited": (
        "tests/pipeline/engine/test_batch_producer.py::test_a_missing_topic_is_refused",
        "tests/pipeline/engine/test_batch_producer.py::test_brokers_that_are_away_make_a_failure_that_may_pass",
    ),
    "commit-before-write": (
        "tests/sinks/postgres/test_runner.py::test_a_process_killed_at_its_commit_leaves_every_row_once",
    ),
    "no-epoch-check": ("tests/pipeline/engine/test_offset_tracker.py",),
    "no-verdict-memory": ("tests/pipeline/stages/test_qualify.py",),
    "no-usual-answers": (
        "tests/ingest_api/abuse/test_attacks.py::test_a_class_whose_answers_are_alike_as_those_of_others_meets_nothing",
    ),
    "no-dedup-value": ("tests/pipeline/stages/test_dedup.py",),
    "reroutes-a-calling-delivery": (
        "tests/sinks/delivery/routing/test_router.py::"
        "test_a_delivery_that_is_leased_or_called_or_in_doubt_keeps_its_number",
    ),
    "falls-back-from-doubt": (
        "tests/sinks/delivery/routing/test_elsewhere.py::"
        "test_whatever_providers_answer_each_contact_has_one_message_at_most",
    ),
    "no-visit-merge": ("tests/sinks/visits/test_visit.py",),
    "budget-not-shared": (
        "tests/sinks/delivery/budget/test_portfolio.py::test_250_people_in_any_24_h_of_four_numbers",
    ),
    "budget-off-by-one": ("tests/sinks/delivery/pacing/test_budget.py",),
    "budget-forgets-the-other-call": ("tests/sinks/delivery/budget/test_counting.py",),
    "reroutes-what-has-changed": (
        "tests/sinks/delivery/routing/test_router.py::"
        "test_a_delivery_that_changes_while_it_is_routed_again_keeps_what_it_is",
    ),
    "no-lease-ends-with-the-tenant": (
        "tests/sinks/delivery/routing/test_router.py::"
        "test_the_last_number_of_a_tenant_goes_to_another_and_comes_back",
    ),
    "writes-what-encoded-words-hide": ("tests/sinks/messaging/email/test_letters.py",),
}
TESTS_FAILED = 1  # of pytest's exit codes: neither interrupted, nor misused, nor nothing collected


def run_pytest(tests: tuple[str, ...], mutation: str) -> subprocess.CompletedProcess[str]:
    """On the same servers as this run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"alone-{os.getpid()}")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "PYTHONPATH": str(MUTANTS),
            "PYTEST_XDIST_TESTRUNUID": run,
            "QUIZSTREAM_MUTATION": mutation,
            "QUIZSTREAM_ALLOW_MUTATIONS": "1",
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


@pytest.mark.full
@pytest.mark.timeout(TIMEOUT_S + 20)
@pytest.mark.parametrize("mutation", CAUGHT_BY)
def test_a_broken_guarantee_is_noticed(stack: ServerUrls, mutation: str) -> None:
    broken = run_pytest(CAUGHT_BY[mutation], mutation)
    assert broken.returncode == TESTS_FAILED, broken.stdout[-3000:]


@pytest.mark.full
@pytest.mark.timeout(TIMEOUT_S + 20)
def test_unbroken_the_same_tests_pass(stack: ServerUrls) -> None:
    whole = run_pytest(tuple(test for tests in CAUGHT_BY.values() for test in tests), mutation="")
    assert whole.returncode == 0, whole.stdout[-3000:]


def test_every_mutation_has_its_tests_and_needs_leave() -> None:
    listing = "import sitecustomize; print(*sitecustomize.MUTATIONS)"
    env = {**os.environ, "PYTHONPATH": str(MUTANTS)}
    told = subprocess.run(
        [sys.executable, "-c", listing], env=env, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == list(CAUGHT_BY)
    unasked = {**env, "QUIZSTREAM_MUTATION": "no-verdict-memory"}
    whole = "from pipeline.stages.contact_memory import ContactMemory as C; print(C.recall.__name__)"
    said = subprocess.run(
        [sys.executable, "-c", whole], cwd=CHECKOUT, env=unasked, capture_output=True, text=True, check=True
    )
    assert said.stdout == "recall\n"
