"""Clients before nginx with the generated configuration: what arrives at an edge, and what does not."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import http.client
import json
import re
import ssl
import threading
from pathlib import Path

import pytest

from ingest_api.http.problems import BY_SLUG
from ops.balancer.errors import ERRORS
from ops.balancer.place import Place, Server
from pipeline.runtime.settings import DEVELOPMENT_WEBHOOK_SECRET
from tests.support.balanced import ADDRESS_LIMIT, BODY, Balanced, ask, at, submit, talk
from tests.support.edge import wait_until
from tests.support.ports import free_ports

pytestmark = pytest.mark.xdist_group("balancer")

ID = "0123456789abcdef0123456789abcdef"


def test_a_completion_goes_through_and_each_client_has_its_own_limit(balanced: Balanced) -> None:
    for source in ("127.0.1.1", "127.0.1.2"):
        answers = [submit(balanced.port, source) for _ in range(ADDRESS_LIMIT + 1)]
        assert [answer.status for answer in answers] == [202] * ADDRESS_LIMIT + [429]
        assert answers[0].headers["ratelimit"].startswith(f'"address";r={ADDRESS_LIMIT - 1};')
    # What a client claims about its address is not believed.
    for header in ("x_forwarded_for", "forwarded"):
        claimed = {header: "203.0.113.9" if header == "x_forwarded_for" else "for=203.0.113.9"}
        assert submit(balanced.port, "127.0.1.1", **claimed).status == 429


def test_tls_and_keep_alive(balanced: Balanced) -> None:
    trusting = ssl.create_default_context(cafile=str(balanced.certificate))
    connection = http.client.HTTPSConnection("localhost", balanced.tls_port, timeout=60, context=trusting)
    connection.connect()
    first = connection.sock
    for _ in range(3):
        connection.request("POST", "/ping", b"")
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["next_ping_ms"] >= 0
        assert response.getheader("strict-transport-security")
        assert connection.sock is first
    connection.close()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("AES128-SHA")  # without forward secrecy
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, OSError)):
        ask(balanced.tls_port, "/ping", method="POST", tls=old)


def test_the_proxy_protocol_names_the_client_where_its_sender_is_trusted(balanced: Balanced) -> None:
    request = (
        b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    )
    header = b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 80\r\n"
    for _ in range(ADDRESS_LIMIT):
        assert b" 202 " in talk(balanced.proxied_port, header + request, "127.0.0.9").split(b"\r\n")[0]
    assert b" 429 " in talk(balanced.proxied_port, header + request, "127.0.0.9").split(b"\r\n")[0]
    # From another address the name is not believed: that address is counted.
    assert b" 202 " in talk(balanced.proxied_port, header + request, "127.0.1.3").split(b"\r\n")[0]
    # Without the header there is no request; with it, but without the option, neither.
    assert b" 202 " not in talk(balanced.proxied_port, request, "127.0.0.9")
    assert talk(balanced.port, header + request).startswith(b"HTTP/1.1 400 ")


def test_every_request_has_an_id_and_a_clients_own_is_kept_if_it_is_one(balanced: Balanced) -> None:
    kept = ask(balanced.port, "/problems", x_request_id=ID)
    assert kept.headers["x-request-id"] == ID
    for not_one in ("+5547989211984", "5547989211984", "a b", ID + "0", ""):
        generated = ask(balanced.port, "/problems", x_request_id=not_one, source="127.0.1.4")
        assert re.fullmatch(r"[0-9a-f]{32}", generated.headers["x-request-id"])
        assert generated.headers["x-request-id"] != not_one


def test_the_log_has_no_personal_data(balanced: Balanced) -> None:
    phone = "5547989211984"
    before = len(balanced.lines())
    ask(
        balanced.port,
        f"/quiz/{phone}/completions?phone={phone}",
        method="POST",
        body=b"{}",
        source="127.0.1.5",
        user_agent=phone,
        x_request_id=phone,
        referer=f"https://x/?{phone}",
    )
    ask(balanced.port, f"/{phone}", method=f"X{phone}", source="127.0.1.5")
    # An answer is sent before its line is written, and each worker writes its own.
    wait_until(lambda: {"completions", "other"} <= balanced.statuses(before).keys(), "the lines of the log")
    assert balanced.statuses(before)["completions"] == "404"
    assert phone not in balanced.log.read_text()
    assert "127.0.1.5" not in balanced.log.read_text()


def test_internal_addresses_are_closed_to_clients_in_every_spelling(
    balanced: Balanced, tmp_path: Path
) -> None:
    spellings = [
        "/metrics",
        "/metrics/",
        "//metrics",
        "/%6detrics",
        "/quiz/../metrics",
        "/health",
        "/health/ready",
    ]
    spellings += ["/subjects", "/schemas/ids/1", "http://other/metrics"]
    place = Place(
        (Server(f"127.0.0.1:{balanced.edges[0].port}"),),
        free_ports().edge,
        addresses=("127.0.0.1",),
        internal=("192.0.2.0/24",),
        folder=tmp_path,
        access_log=tmp_path / "access.log",
    )
    with at(tmp_path, balanced.edges[0].topology, place, "closed"):
        for path in spellings:
            answer = talk(place.port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 404 "), (path, answer)
            assert b"quizstream_edge" not in answer
        assert ask(place.port, "/balancer/live").body == b"live\n"
    assert ask(balanced.port, "/health").status == 200


HOSTILE = {
    "two lengths": b"POST /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "length and chunked": b"POST /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /ping HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two codings": b"POST /ping HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "space before the colon": b"POST /ping HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\nabcd",
    "two hosts": b"GET /problems HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n",
    "no host": b"GET /problems HTTP/1.1\r\nConnection: close\r\n\r\n",
    "a bare line feed": b"GET /problems HTTP/1.1\nHost: x\nConnection: close\n\n",
    "a folded header": b"GET /problems HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\nConnection: close\r\n\r\n",
    "a NUL": b"GET /problems\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": b"GET /problems HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET /problems HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
    "a chunk that is too long": b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "10 MB": b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 10000000\r\n\r\n" + b" " * 10_000_000,
    "a gzip bomb": b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    % (len(gzip.compress(b" " * 10_000_000)), gzip.compress(b" " * 10_000_000)),
    "HTTP/2 without TLS": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("form", HOSTILE)
def test_hostile_requests_get_no_5xx_and_honest_ones_go_on(balanced: Balanced, form: str) -> None:
    before = sum(len(edge.completions()) for edge in balanced.edges[:1])
    honest: list[int] = []
    stopping = threading.Event()

    def visit() -> None:
        while not stopping.is_set():
            honest.append(ask(balanced.port, "/ping", method="POST", body=b"", source="127.0.2.1").status)

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        for _ in range(5):
            answer = talk(balanced.port, HOSTILE[form], "127.0.2.2")
            statuses = [int(found) for found in re.findall(rb"HTTP/1.1 (\d{3}) ", answer)]
            assert len(statuses) <= 1, answer[:500]
            assert all(status < 500 for status in statuses), answer[:500]
            assert b"quizstream_edge" not in answer
        wait_until(lambda: len(honest) > 20, "honest requests")
    finally:
        stopping.set()
        visitor.join()
    assert set(honest) == {200}
    assert sum(len(edge.completions()) for edge in balanced.edges[:1]) == before


def test_what_nginx_refuses_is_a_problem_of_the_catalogue(balanced: Balanced) -> None:
    for form, slug in (
        ("10 MB", "body-too-large"),
        ("a long header", "headers-too-large"),
        ("no host", "not-http"),
    ):
        head, _, body = talk(balanced.port, HOSTILE[form][:300_000], "127.0.2.3").partition(b"\r\n\r\n")
        kind = BY_SLUG[slug]
        assert head.startswith(b"HTTP/1.1 %d " % kind.status), head
        problem = json.loads(body)
        assert (problem["type"], problem["status"]) == (kind.type, kind.status)
        assert b"Content-Type: application/problem+json" in head
        assert b"Access-Control-Allow-Origin: *" in head
    for error in ERRORS:
        kind = BY_SLUG[error.slug]
        assert (error.status, error.title) == (kind.status, kind.title)


def test_webhooks_may_be_longer_and_their_bytes_arrive_as_they_are(balanced: Balanced) -> None:
    body = b'{"object": "whatsapp_business_account", "entry": [], "filler": "' + b"x" * 1_000_000 + b'"}'
    signature = hmac.new(DEVELOPMENT_WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
    answer = ask(
        balanced.port,
        "/webhooks/meta-cloud",
        method="POST",
        body=body,
        content_type="application/json",
        x_hub_signature_256=f"sha256={signature}",
    )
    assert answer.status == 200, answer
