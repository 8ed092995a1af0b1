"""What Kafka is told on its command line and asked before it counts as ready."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from ops.embedded.broker import new_cluster_id
from ops.embedded.coordinators import one_group_per_partition


def test_a_cluster_id_is_never_taken_for_an_option() -> None:
    leading_dash, other = uuid.UUID(bytes=b"\xf8" + bytes(15)), uuid.UUID(bytes=b"\x04" + bytes(15))
    made = iter([leading_dash, other])
    assert new_cluster_id(lambda: next(made)).startswith("B")


@given(st.uuids())
def test_a_cluster_id_has_the_length_kafka_wants(value: uuid.UUID) -> None:
    made = iter([value, uuid.UUID(int=0)])
    assert len(new_cluster_id(lambda: next(made))) == 22


def test_readiness_asks_one_group_of_each_coordinator_partition() -> None:
    # `Math.abs("ready-0".hashCode()) % 8` and so on, in Java: 1079364072 -> 0.
    groups = one_group_per_partition(8)
    assert len(set(groups)) == 8
