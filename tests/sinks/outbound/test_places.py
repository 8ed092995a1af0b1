"""Free places for calls go to every endpoint in turn, and to no tenant alone."""

from __future__ import annotations

from collections import Counter

from sinks.outbound.places import Places, Wanted


def test_each_endpoint_gets_one_before_any_gets_another() -> None:
    wanted = {"a": Wanted("acme", 4), "b": Wanted("acme", 4), "c": Wanted("umbrella", 1)}
    assert Places(10).deal(wanted, {}, 5) == {"a": 2, "b": 2, "c": 1}
    assert Places(10).deal(wanted, {}, 100) == {"a": 4, "b": 4, "c": 1}


def test_who_waits_longest_is_served_first() -> None:
    places = Places(10)
    wanted = {name: Wanted("acme", 4) for name in "abc"}
    served = [places.deal(wanted, {}, 1) for _ in range(6)]
    assert served == [{"a": 1}, {"b": 1}, {"c": 1}] * 2


def test_a_tenant_has_at_most_its_share() -> None:
    wanted = {f"a{n}": Wanted("acme", 4) for n in range(20)} | {"u": Wanted("umbrella", 4)}
    dealt = Places(6).deal(wanted, {"acme": 4}, 100)
    of_tenant = Counter(wanted[name].tenant_id for name in dealt for _ in range(dealt[name]))
    assert of_tenant == {"acme": 2, "umbrella": 4}


def test_without_room_or_places_there_is_none() -> None:
    assert Places(6).deal({"a": Wanted("acme", 0), "b": Wanted("acme", -2)}, {}, 10) == {}
    assert Places(6).deal({"a": Wanted("acme", 4)}, {}, 0) == {}
