"""nginx with the generated configuration, before two edges: what arrives, what does not, what is retried."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import hmac
import http.client
import json
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ingest_api.http.head import LAST_REQUEST_S
from ingest_api.http.lifecycle import START_WAIT_S
from ingest_api.http.problems import BY_SLUG
from ops.balancer.errors import ERRORS
from ops.balancer.nginx import EDGE_IDLE_S, render
from ops.balancer.place import InvalidPlace, Place, Server, Tls, servers
from ops.embedded.stack import ServerUrls
from pipeline.runtime.settings import DEVELOPMENT_WEBHOOK_SECRET
from pipeline.topology.file import Sources, Window
from pipeline.topology.model import Topology
from tests.support import nginx
from tests.support.edge import Edge, prepare, running, settings_for, wait_ready, wait_until
from tests.support.ports import free_ports

pytestmark = pytest.mark.xdist_group("balancer")

ADDRESS_LIMIT = 5
ID = "0123456789abcdef0123456789abcdef"
CLIENT, OTHER = "127.0.0.7", "127.0.0.8"
BODY = b'{"answers": {}}'


@dataclass(frozen=True)
class Balanced:
    """nginx: HTTP at `port`, TLS at `tls_port`, PROXY protocol at `proxied_port`; behind it `edges`."""

    port: int
    tls_port: int
    proxied_port: int
    edges: tuple[Edge, Edge]
    certificate: Path
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def statuses(self, before: int) -> dict[str, str]:
        """Of each route in the lines after the first `before`."""
        return {line["route"]: line["status"] for line in self.lines()[before:]}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    port: int,
    path: str,
    *,
    source: str = CLIENT,
    method: str = "GET",
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
    **headers: Any,
) -> Answer:
    host = "localhost" if tls else "127.0.0.1"
    kind: Any = http.client.HTTPConnection if tls is None else http.client.HTTPSConnection
    more = {} if tls is None else {"context": tls}
    connection = kind(host, port, timeout=60, source_address=(source, 0), **more)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


def submit(port: int, source: str = CLIENT, quiz: str = "survey", **headers: Any) -> Answer:
    headers = {"content_type": "application/json", "idempotency_key": secrets.token_hex(16)} | headers
    return ask(port, f"/quiz/{quiz}/completions", method="POST", body=BODY, source=source, **headers)


def talk(port: int, content: bytes, source: str = CLIENT) -> bytes:
    """Everything that comes back until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0)) as connection:
        received = b""
        try:
            connection.sendall(content)
            while part := connection.recv(65_536):
                received += part
        except ConnectionError:
            pass  # it was refused before all of it was sent
        return received


@pytest.fixture(scope="module")
def balanced(stack: ServerUrls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    nginx.require_nginx()
    folder = tmp_path_factory.mktemp("nginx")
    settings = settings_for(stack.kafka_bootstrap, f"t{secrets.token_hex(4)}.")
    settings = dataclasses.replace(settings, redis_url=stack.redis_url)
    topology = prepare(settings)
    limits = replace(topology.edge.limits, address=Window(ADDRESS_LIMIT, 3600))
    sources = Sources(proxies=("127.0.0.1/32",))
    topology = replace(topology, edge=replace(topology.edge, limits=limits, sources=sources))
    ports = free_ports()
    certificate, key = nginx.self_signed(folder)
    with running(settings, topology) as first, running(settings, topology) as second:
        wait_ready(first)
        wait_ready(second)
        place = Place(
            (Server(f"127.0.0.1:{first.port}", 3), Server(f"127.0.0.1:{second.port}")),
            ports.edge,
            addresses=("127.0.0.1",),
            folder=folder,
            access_log=folder / "access.log",
        )
        one = Balanced(
            ports.edge, ports.console, ports.simulator, (first, second), certificate, place.access_log
        )
        secure = dataclasses.replace(
            place, port=ports.worker_web, tls=Tls(one.tls_port, certificate, key), names=("localhost",)
        )
        proxied = dataclasses.replace(
            place, port=one.proxied_port, proxy_protocol=True, before=("127.0.0.9/32",)
        )
        with (
            at(folder, topology, place, "plain"),
            at(folder, topology, secure, "tls"),
            at(folder, topology, proxied, "proxied"),
        ):
            yield one


@contextmanager
def at(folder: Path, topology: Topology, place: Place, name: str) -> Iterator[None]:
    own = folder / name
    own.mkdir()
    file = own / "nginx.conf"
    file.write_text(render(topology, dataclasses.replace(place, folder=own)))
    assert nginx.check(file) == ""
    with nginx.running(file, place.tls.port if place.tls else place.port):
        yield


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


def test_slow_clients_are_closed_and_reach_no_edge(balanced: Balanced, tmp_path: Path) -> None:
    topology = balanced.edges[0].topology
    quick = replace(topology.balancer, header_timeout_s=0.2, body_timeout_s=0.2)
    counting = Counting()
    place = Place(
        (Server(f"127.0.0.1:{counting.port}"),),
        free_ports().edge,
        addresses=("127.0.0.1",),
        folder=tmp_path,
        access_log=tmp_path / "access.log",
    )
    head = b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
    try:
        with at(tmp_path, replace(topology, balancer=quick), place, "slow"):
            for unfinished in (b"", b"POST /qu", head, head + b"\r\n", head + b"\r\n{"):
                answer = talk(place.port, unfinished)
                assert answer == b"" or answer.startswith(b"HTTP/1.1 408 "), answer
        assert counting.requests == []
    finally:
        counting.close()


def test_both_edges_serve_by_weight(balanced: Balanced) -> None:
    before = len(balanced.lines())
    for _ in range(40):
        ask(balanced.port, "/ping", method="POST", body=b"")

    def served() -> list[str]:
        return [line["edge"] for line in balanced.lines()[before:] if line["route"] == "ping"]

    wait_until(lambda: len(served()) == 40, "the lines of the log")
    assert [served().count(f"127.0.0.1:{edge.port}") for edge in balanced.edges] == [30, 10]


class Counting:
    """A server in an edge's place that takes each request and then breaks the connection."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            with connection:
                self.requests.append(connection.recv(65_536))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Holding:
    """A server in an edge's place that answers no request before it is let go."""

    def __init__(self) -> None:
        self.requests = 0
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            connection.recv(65_536)
            self._held.append(connection)
            self.requests += 1

    def has(self, requests: int) -> bool:
        return self.requests == requests

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._held:
            connection.close()


def test_a_client_has_so_many_requests_at_once_and_ipv6_is_counted_by_network(
    balanced: Balanced, tmp_path: Path
) -> None:
    topology = balanced.edges[0].topology
    topology = replace(topology, balancer=replace(topology.balancer, requests_per_address_max=1))
    holding = Holding()
    place = Place(
        (Server(f"127.0.0.1:{holding.port}"),),
        free_ports().edge,
        addresses=("127.0.0.1",),
        proxy_protocol=True,
        before=("127.0.0.1/32",),
        folder=tmp_path,
        access_log=tmp_path / "access.log",
    )
    request = b"GET /problems HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    def begin(address: str) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", place.port), timeout=60)
        to = b"TCP6 %b ::1" if ":" in address else b"TCP4 %b 127.0.0.1"
        connection.sendall(b"PROXY " + to % address.encode() + b" 4711 80\r\n" + request)
        return connection

    try:
        with at(tmp_path, topology, place, "held"), contextlib.ExitStack() as held:
            others = [
                "2001:db8:1:2::1",
                "2001:db8:1:3::1",
                "2001:db8::1",
                "2001:db9::1",
                "192.0.2.1",
                "192.0.2.2",
            ]
            for number, address in enumerate(others, 1):
                held.enter_context(begin(address))
                wait_until(partial(holding.has, number), f"the request of {address}")
            for same in ("2001:db8:1:2:ffff::9", "2001:db8:1:3:1:2:3:4", "2001:db8::2", "192.0.2.1"):
                with begin(same) as refused:
                    answer = refused.recv(65_536)
                assert answer.startswith(b"HTTP/1.1 429 "), (same, answer)
                assert b"/problems/too-many-connections" in answer
                assert b"Retry-After: " in answer
    finally:
        holding.close()


@pytest.mark.parametrize("key", [{}, {"idempotency_key": "k"}])
def test_a_post_that_an_edge_may_have_is_never_sent_twice(
    balanced: Balanced, tmp_path: Path, key: dict[str, Any]
) -> None:
    breaking = [Counting(), Counting()]
    place = Place(
        tuple(Server(f"127.0.0.1:{one.port}") for one in breaking),
        free_ports().edge,
        addresses=("127.0.0.1",),
        folder=tmp_path,
        access_log=tmp_path / "access.log",
    )
    try:
        with at(tmp_path, balanced.edges[0].topology, place, "breaking"):
            answer = ask(
                place.port, "/quiz/survey/completions", method="POST", body=BODY,
                content_type="application/json", **key,
            )  # fmt: skip
            assert answer.status == 503
            assert answer.headers["retry-after"]
            assert answer.headers["access-control-expose-headers"] == "retry-after"
            assert json.loads(answer.body)["type"] == "/problems/log-unavailable"
            assert sum(len(one.requests) for one in breaking) == 1
            assert ask(place.port, "/problems").status == 503  # a page is read from each
            assert sum(len(one.requests) for one in breaking) == 3
    finally:
        for one in breaking:
            one.close()


def test_a_post_is_offered_to_the_next_edge_where_one_does_not_listen(
    balanced: Balanced, tmp_path: Path
) -> None:
    ports = free_ports()
    place = Place(
        (Server(f"127.0.0.1:{ports.console}", 10), Server(f"127.0.0.1:{balanced.edges[0].port}")),
        ports.edge,
        addresses=("127.0.0.1",),
        folder=tmp_path,
        access_log=tmp_path / "access.log",
    )
    with at(tmp_path, balanced.edges[0].topology, place, "refusing"):
        for number in range(ADDRESS_LIMIT):
            assert submit(place.port, "127.0.3.1", idempotency_key=f"{number}").status == 202


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
