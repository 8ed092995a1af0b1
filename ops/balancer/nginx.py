"""Writes nginx' configuration: one file, complete, from the limits of the topology and a place.

Why it is as it is: docs/balancer.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from ops.balancer.errors import ERRORS, Error
from ops.balancer.place import Place, Server
from pipeline.topology.model import Topology

# An edge that stops keeps idle connections for longer (3 s), so that each request on its way is answered.
EDGE_IDLE_S = 2
EDGE_REQUESTS_MAX = 100_000  # of one connection to an edge
CLIENT_REQUESTS_MAX = 1_000  # of one connection of a client
TRIES_MAX = 3  # edges that a request is offered to
TRIES_S = 5
HEAD_LINES_MAX = 4  # of `header_line_bytes_max`
FILES_PER_CONNECTION = 2
ADDRESSES_BYTES = 16 * 1024 * 1024  # shared memory: some 130,000 addresses with requests at once
STREAMS_MAX = 32  # requests at once of one HTTP/2 connection
INTERNAL = r"^/(metrics|health|schemas|subjects)(/|$)"
BACKLOG = 4_096  # connections that nginx has not accepted yet
HSTS_S = 31_536_000

HEADER = (
    "# nginx before the edges; written by `quizstream balancer config`: do not edit, see docs/balancer.md.\n"
)

# By route, not by address: an address may hold what a person wrote into it.
ROUTES = (
    (r"^/(api/)?quiz/[^/]+/(completions|submit)/?$", "completions"),
    (r"^/quiz/[^/]+/progress/?$", "progress"),
    (r"^/quiz/", "quiz"),
    (r"^/ping/?$", "ping"),
    (r"^/webhooks/", "webhooks"),
    (r"^/health(/|$)", "health"),
    (r"^/metrics/?$", "metrics"),
)
# A client is an IPv4 address, or the /64 of an IPv6 one, as at the edge. nginx writes the longest row of
# zeros as `::`: where that is within the first half, what is before it.
CLIENTS = (
    (r"^::ffff:", "$remote_addr"),
    (r"^(?<quizstream_half>([0-9a-f]{1,4}:){4})", "$quizstream_half"),
    (r"^(?<quizstream_before>([0-9a-f]{1,4}:){0,3}):", "$quizstream_before"),
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
# Of a request id that is passed on: hexadecimal, or a UUID. Nothing else, since it is logged.
REQUEST_ID = r"^([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"

LOG = (
    ("at", "$time_iso8601"),
    ("request_id", "$quizstream_request_id"),
    ("method", "$quizstream_method"),
    ("route", "$quizstream_route"),
    ("status", "$status"),
    ("bytes", "$bytes_sent"),
    ("seconds", "$request_time"),
    ("edge", "$upstream_addr"),
    ("edge_status", "$upstream_status"),
    ("edge_seconds", "$upstream_response_time"),
    ("tls", "$ssl_protocol"),
)


def render(topology: Topology, place: Place) -> str:
    limits = topology.balancer
    blocks = [
        f"worker_processes auto;\n"
        f"worker_rlimit_nofile {limits.connections_max * FILES_PER_CONNECTION};\n"
        f"worker_shutdown_timeout {_ms(limits.answer_timeout_s)};\n"
        f"pid {place.folder}/nginx.pid;\n"
        "# Lower levels name the client's address and the whole request.\n"
        f"error_log {place.folder}/nginx-error.log alert;\n",
        _block("events", [f"worker_connections {limits.connections_max};"]),
        _block("http", list(_http(topology, place))),
    ]
    return HEADER + "\n" + "\n".join(blocks)


def _http(topology: Topology, place: Place) -> Iterator[str]:
    limits, edge = topology.balancer, topology.edge
    yield from (
        "server_tokens off;",
        "default_type application/octet-stream;",
        "tcp_nodelay on;",
        "merge_slashes on;",
        "ignore_invalid_headers on;",
        "underscores_in_headers off;",
        "reset_timedout_connection on;",
        "types_hash_max_size 2048;",
        "map_hash_bucket_size 128;",
        "",
        "# Slow clients.",
        f"client_header_timeout {_ms(limits.header_timeout_s)};",
        f"client_body_timeout {_ms(limits.body_timeout_s)};",
        f"send_timeout {_ms(limits.send_timeout_s)};",
        f"keepalive_timeout {_ms(limits.keep_alive_s)};",
        f"keepalive_requests {CLIENT_REQUESTS_MAX};",
        "",
        "# Sizes. A body fits into its buffer: none is ever written to a file.",
        "client_header_buffer_size 1k;",
        f"large_client_header_buffers {HEAD_LINES_MAX} {limits.header_line_bytes_max};",
        f"client_max_body_size {edge.body_bytes_max};",
        f"client_body_buffer_size {edge.body_bytes_max};",
        *(
            f"{name}_temp_path {place.folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ),
        "",
        f"limit_conn_zone $quizstream_client zone=addresses:{ADDRESSES_BYTES};",
        "limit_conn_zone $server_port zone=webhooks:64k;",
        "limit_conn_status 429;",
        "limit_conn_log_level info;",
        "",
    )
    if place.before:
        yield from (f"set_real_ip_from {network};" for network in place.before)
        yield f"real_ip_header {'proxy_protocol' if place.proxy_protocol else 'X-Forwarded-For'};"
        yield "real_ip_recursive on;"
        yield ""
    yield _map(
        "$remote_addr", "$quizstream_client", [(f"~{form}", key) for form, key in CLIENTS], "$remote_addr"
    )
    yield _map(
        "$http_x_request_id",
        "$quizstream_request_id",
        [(f"~{REQUEST_ID}", "$http_x_request_id")],
        "$request_id",
    )
    yield _map("$uri", "$quizstream_route", [(f"~{form}", name) for form, name in ROUTES], "other")
    yield _map("$request_method", "$quizstream_method", [(name, name) for name in METHODS], "other")
    yield "log_format quizstream escape=json " + _quoted(
        "{" + ",".join(f'"{name}":"{value}"' for name, value in LOG) + "}"
    )
    yield f"access_log {place.access_log} quizstream;"
    yield ""
    yield _block("upstream edges", list(_upstream(topology, place)))
    yield from _proxy(topology)
    yield ""
    yield _block("server", list(_server(topology, place)))
    if place.tls is not None:
        yield _block("server", list(_redirect(place)))


def _upstream(topology: Topology, place: Place) -> Iterator[str]:
    limits = topology.balancer
    fails = f"max_fails={limits.failures_max} fail_timeout={math.ceil(limits.failed_s)}s"
    yield "zone edges 256k;"
    yield from (f"server {one.address} weight={one.weight} {fails};" for one in place.servers)
    yield f"keepalive {limits.idle_connections};"
    yield f"keepalive_requests {EDGE_REQUESTS_MAX};"
    yield f"keepalive_timeout {EDGE_IDLE_S}s;"


def _proxy(topology: Topology) -> Iterator[str]:
    limits = topology.balancer
    yield from (
        "proxy_http_version 1.1;",
        'proxy_set_header Connection "";',
        "proxy_set_header Host $host;",
        "# Replaced, not extended: the edge believes this address.",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        'proxy_set_header Forwarded "";',
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header X-Request-Id $quizstream_request_id;",
        f"proxy_connect_timeout {_ms(limits.connect_timeout_s)};",
        f"proxy_read_timeout {_ms(limits.answer_timeout_s)};",
        f"proxy_send_timeout {_ms(limits.send_timeout_s)};",
        "proxy_request_buffering on;",
        "proxy_buffers 8 16k;",
        "proxy_max_temp_file_size 0;",
        "# A POST of which a byte was sent is never repeated (no `non_idempotent`): without a key, a repeat",
        "# would be a second completion. One that no edge has received is offered to the next.",
        "proxy_next_upstream error timeout;",
        f"proxy_next_upstream_tries {TRIES_MAX};",
        f"proxy_next_upstream_timeout {TRIES_S}s;",
    )


def _server(topology: Topology, place: Place) -> Iterator[str]:
    limits, edge, tls = topology.balancer, topology.edge, place.tls
    if tls is None:
        yield from _listen(place, place.port, "")
    else:
        yield from _listen(place, tls.port, " ssl http2")
        yield from (
            f"ssl_certificate {tls.certificate};",
            f"ssl_certificate_key {tls.key};",
            "ssl_protocols TLSv1.2 TLSv1.3;",
            "ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
            "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
            "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;",
            "ssl_prefer_server_ciphers off;",
            "ssl_session_cache shared:tls:10m;",
            "ssl_session_timeout 1d;",
            "ssl_session_tickets off;",
            f"http2_max_concurrent_streams {STREAMS_MAX};",
        )
    yield f"server_name {' '.join(place.names) or '_'};"
    yield f"limit_conn addresses {limits.requests_per_address_max};"
    yield from _headers(place)
    yield ""
    yield from (
        f"error_page {' '.join(map(str, one.of))} ={one.status} {_error_location(one)};" for one in ERRORS
    )
    yield ""
    yield _block("location /", ["proxy_pass http://edges;"])
    yield _block(
        "location ^~ /webhooks/",
        [
            f"client_max_body_size {edge.webhook_bytes_max};",
            f"client_body_buffer_size {edge.webhook_bytes_max};",
            f"limit_conn webhooks {limits.webhooks_max};",
            "proxy_pass http://edges;",
        ],
    )
    yield "# Of one edge: a scrape reads each edge's own port."
    yield _block(
        f'location ~ "{INTERNAL}"',
        [*(f"allow {network};" for network in place.internal), "deny all;", "proxy_pass http://edges;"],
    )
    yield "# Whether the balancer itself runs, for one before it."
    yield _block(
        "location = /balancer/live", ["access_log off;", "default_type text/plain;", 'return 200 "live\\n";']
    )
    for error in ERRORS:
        exact = "= " if error.unread else ""
        yield _block(f"location {exact}{_error_location(error)}", list(_answer(error, place)))


def _listen(place: Place, port: int, more: str) -> Iterator[str]:
    more += " proxy_protocol" if place.proxy_protocol else ""
    for address in place.addresses:
        only = " ipv6only=on" if address.startswith("[") else ""
        yield f"listen {address}:{port} default_server{only}{more} backlog={BACKLOG};"


def _redirect(place: Place) -> Iterator[str]:
    """To the first name, if there is one: a client must not choose where others are sent."""
    assert place.tls is not None
    named = [name for name in place.names if not name.startswith("*")]
    host = named[0] if named else "$host"
    port = "" if place.tls.port == 443 else f":{place.tls.port}"
    yield from _listen(place, place.port, "")
    yield "server_name _;"
    yield "limit_conn addresses 10;"
    yield f"return 308 https://{host}{port}$request_uri;"


def _headers(place: Place) -> Iterator[str]:
    yield "add_header X-Request-Id $quizstream_request_id always;"
    if place.tls is not None:
        yield f'add_header Strict-Transport-Security "max-age={HSTS_S}" always;'


def _error_location(error: Error) -> str:
    return f"/balancer/errors/{error.name}" if error.unread else f"@{error.name}"


def _answer(error: Error, place: Place) -> Iterator[str]:
    yield "internal;"
    yield "default_type application/problem+json;"
    yield from _headers(place)
    yield "add_header Access-Control-Allow-Origin * always;"
    if error.retry_after_s is not None:
        yield "add_header Access-Control-Expose-Headers retry-after always;"
        yield f"add_header Retry-After {error.retry_after_s} always;"
    yield f"return {error.status} {_quoted(error.body)}"


def _map(source: str, target: str, cases: list[tuple[str, str]], default: str) -> str:
    lines = [f'"{case}" {value};' for case, value in cases]
    return _block(f"map {source} {target}", [f"default {default};", *lines])


def _quoted(text: str) -> str:
    """In single quotes, as the end of a directive. `$` still begins a variable."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "';"


def _block(name: str, lines: list[str]) -> str:
    inner = "\n".join(lines).rstrip("\n").split("\n")
    return "\n".join([f"{name} {{", *(f"    {line}" if line else "" for line in inner), "}", ""])


def _ms(seconds: float) -> str:
    return f"{math.ceil(seconds * 1000)}ms"


def untrusted(topology: Topology, servers: tuple[Server, ...]) -> bool:
    """Whether edges on this host would not read the client's address from a balancer on this host."""
    local = [one for one in servers if one.address.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")]
    proxies = [ip_network(text) for text in topology.edge.sources.proxies]
    return bool(local) and not any(ip_address("127.0.0.1") in network for network in proxies)
