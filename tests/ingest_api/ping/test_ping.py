from __future__ import annotations

from tests.support.edge import Edge


def test_a_page_is_answered_when_to_ping_again(edge: Edge) -> None:
    limits = edge.topology.edge.ping
    for body in (None, b"", b'{"page": "capitals"}', b"\xff" * 100_000):
        answer = edge.ask("POST", "/ping/", body)
        assert answer.status == 200
        assert limits.interval_s * 500 <= answer.json["next_ping_ms"] <= limits.interval_s * 1500
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["access-control-allow-origin"] == "*"
    assert edge.ask("OPTIONS", "/ping").status == 204
    assert edge.ask("GET", "/ping").status == 405
