"""The life of a delivery as a table: what may follow what, and that nothing else says otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.setup.delivery_states import DOCUMENT, document
from sinks.delivery.state import (
    ACCEPTED,
    AMBIGUOUS,
    BY_OPERATORS,
    CALLING,
    LEASED,
    MEANINGS,
    OPEN,
    RESTORING,
    RULES,
    TRANSITIONS,
    WAITING,
    DeliveryState,
    Event,
    after,
)
from sinks.delivery.webhooks.status_merge import Becomes, merge
from sinks.postgres.catalogue.webhooks.messages import STATES as MESSAGE_STATES
from sinks.postgres.schema.dump import SCHEMA_FILE
from sinks.visits.visit import VisitState

SQL_FILES = sorted(
    path
    for path in Path(__file__).resolve().parents[3].glob("sinks/**/*.sql")
    if "schema" not in path.parts and "migrations" not in path.parts
)
NUMBER_STATES = {"active", "paused", "stopped", "quarantined"}
ENDPOINT_STATES = {"active", "disabled"}  # of webhooks
OWN_LATE_RESULT = {rule.event for rule in RULES if rule.statement == "record_results"}
FAILED_BY_STATUS = {Event.STATUS_FAILED_FOR_NOW, Event.STATUS_FAILED_HERE}
"""The provider's word that a message which it took did not arrive: another call, perhaps by another route."""
STATUSES = {rule.event for rule in RULES if rule.statement == "settle_deliveries"}


def test_the_check_of_the_table_lists_the_states() -> None:
    (check,) = re.findall(
        r"deliveries_state_check CHECK \(\(state = ANY \(ARRAY\[(.*?)\]", SCHEMA_FILE.read_text()
    )
    assert set(re.findall(r"'(\w+)'::text", check)) == set(DeliveryState)
    assert set(MEANINGS) == set(DeliveryState)


def test_each_event_leads_from_a_state_to_one_state() -> None:
    assert len(TRANSITIONS) == sum(len(rule.sources or (None,)) for rule in RULES)
    assert {event for _, event in TRANSITIONS} == set(Event)


@given(st.lists(st.sampled_from([*Event]), max_size=60))
def test_whatever_happens_a_terminal_state_is_left_by_a_status_or_its_own_late_result_only(
    events: list[Event],
) -> None:
    state = after(None, Event.OPENED)
    for event in events:
        following = after(state, event)
        if following is None:
            continue
        assert following in DeliveryState
        if state not in OPEN and event not in RESTORING | BY_OPERATORS:
            assert event in STATUSES or (state is AMBIGUOUS and event in OWN_LATE_RESULT)
        if state in ACCEPTED and event not in RESTORING | FAILED_BY_STATUS:
            assert following in (*ACCEPTED, DeliveryState.FAILED)
        state = following


def test_what_the_provider_has_never_becomes_callable_again() -> None:
    """Nor what is failed, suppressed, cancelled or dead by itself; a restored ledger takes it from Kafka.

    But for what the provider itself reports as failed, with a code after which an answer is repeated.
    """
    reachable = {DeliveryState.FAILED, DeliveryState.SUPPRESSED, DeliveryState.CANCELLED, DeliveryState.DEAD}
    reachable |= set(ACCEPTED)
    while True:
        more = {
            target
            for (source, event), target in TRANSITIONS.items()
            if source in reachable and event not in RESTORING | BY_OPERATORS | FAILED_BY_STATUS
        }
        if more <= reachable:
            break
        reachable |= more
    assert not reachable & {WAITING, LEASED, CALLING, AMBIGUOUS}
    again = [rule for rule in RULES if rule.event in FAILED_BY_STATUS]
    assert {rule.sources for rule in again} == {(DeliveryState.SENT, AMBIGUOUS)}, "never what a person has"
    (final,) = [rule for rule in RULES if rule.event is Event.STATUS_FAILED]
    assert {rule.sources for rule in again} == {final.sources}


def test_what_is_in_doubt_goes_to_no_other_route_without_proof() -> None:
    """The provider's word about this very call: its late result, or a status. Neither a lease nor a sweep."""
    leaving = {
        event for (source, event), target in TRANSITIONS.items() if (source, target) == (AMBIGUOUS, WAITING)
    }
    assert leaving - RESTORING == {Event.NOT_SENT, Event.REFUSED_HERE} | FAILED_BY_STATUS


def test_an_operator_makes_callable_only_what_no_provider_has() -> None:
    """And resolves doubt alone; test_operator.py shows that its calls are judged, too."""
    rules = [rule for rule in RULES if rule.event in BY_OPERATORS]
    callable_again = [rule for rule in rules if rule.target in (WAITING, LEASED, CALLING)]
    assert [set(rule.sources) for rule in callable_again] == [{DeliveryState.FAILED, DeliveryState.DEAD}]
    resolved = [rule for rule in rules if rule not in callable_again]
    assert {rule.sources for rule in resolved} == {(AMBIGUOUS,)}
    assert {rule.target for rule in resolved} == {DeliveryState.SENT, DeliveryState.FAILED}


def test_a_call_is_reached_by_lease_and_mark_alone() -> None:
    assert [rule.sources for rule in RULES if rule.target is CALLING] == [(LEASED,)]
    assert [rule.sources for rule in RULES if rule.target is LEASED] == [(WAITING,)]


@pytest.mark.parametrize("state", DeliveryState)
@pytest.mark.parametrize("status", ["sent", "delivered", "read", "failed"])
def test_a_merged_status_is_a_transition_of_the_table(state: DeliveryState, status: str) -> None:
    told = merge(state, status, of_last_attempt=True)
    assert after(state, Event(f"status {status}")) == (told.state if isinstance(told, Becomes) else None)
    of_another = merge(state, status, of_last_attempt=False)
    assert isinstance(of_another, Becomes) <= isinstance(told, Becomes)


def test_sql_names_no_other_state() -> None:
    comparison = r"state\s*(?:=|<>)\s*'(\w+)'"
    listed = r"state\s+(?:NOT\s+)?IN\s*\(((?:'\w+'(?:,\s*)?)+)\)"
    found: set[str] = set()
    for path in SQL_FILES:
        text = path.read_text()
        found |= set(re.findall(comparison, text))
        found |= {name for group in re.findall(listed, text) for name in re.findall(r"'(\w+)'", group)}
        found |= set(re.findall(r"THEN ARRAY\['(\w+)'", text))
    assert found <= set(DeliveryState) | NUMBER_STATES | ENDPOINT_STATES | set(MESSAGE_STATES) | set(
        VisitState
    )
    assert {WAITING, LEASED, CALLING, AMBIGUOUS} <= found


def test_python_names_the_states_by_their_enum() -> None:
    """Where deliveries are handled; the same words as outcomes of calls and names of statuses are others."""
    folder = Path(__file__).resolve().parents[3] / "sinks"
    files = [
        *(folder / "delivery").rglob("*.py"),
        *(folder / "postgres" / "restore").glob("*.py"),
        folder / "postgres" / "tables" / "deliveries.py",
    ]
    literal = re.compile(rf"""state\w*\s*(?:==|!=|=)\s*["'](?:{"|".join(DeliveryState)})["']""")
    assert [str(file) for file in files if literal.search(file.read_text())] == []


def test_the_document_shows_the_table() -> None:
    assert document() == DOCUMENT.read_text(encoding="utf-8"), "run `python -m ops.setup.delivery_states`"
