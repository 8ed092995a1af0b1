"""What may stand in the configuration of nginx, and time limits that fit those of the edge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.http.head import LAST_REQUEST_S
from ingest_api.http.lifecycle import START_WAIT_S
from ops.balancer.nginx import EDGE_IDLE_S
from ops.balancer.place import InvalidPlace, Place, Server, Tls, servers
from tests.support.balanced import Balanced

pytestmark = pytest.mark.xdist_group("balancer")


def test_time_limits_of_both_sides_fit(balanced: Balanced) -> None:
    topology = balanced.edges[0].topology
    assert EDGE_IDLE_S < LAST_REQUEST_S
    deliver_s = topology.edge.deliver_timeout_ms / 1000
    assert topology.balancer.answer_timeout_s > START_WAIT_S + deliver_s


@given(st.text(max_size=60))
def test_no_text_gets_into_the_configuration_as_more_than_a_server(text: str) -> None:
    try:
        (server,) = servers([text])
    except InvalidPlace:
        return
    assert not set(server.address) & set(" ;{}\"'\\$\n#\t")


@pytest.mark.parametrize(
    "wrong",
    [
        {"servers": ()},
        {"port": 0},
        {"names": ("a;b",)},
        {"names": ("",)},
        {"before": ("10.0.0.0/33",)},
        {"internal": ("all; allow all",)},
        {"folder": Path("/a b")},
        {"access_log": Path("relative")},
        {"addresses": ("::",)},
        {"tls": Tls(80, Path("/c"), Path("/k"))},
        {"tls": Tls(443, Path("/c;"), Path("/k"))},
    ],
)
def test_a_place_that_cannot_be_written_is_refused(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"servers": (Server("127.0.0.1:1"),), "port": 80}
    Place(**right)
    with pytest.raises(InvalidPlace):
        Place(**(right | wrong))
