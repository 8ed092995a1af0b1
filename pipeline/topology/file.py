"""The types of `topology.yaml`, from which `topology.schema.json` is generated for editors.

`python -m pipeline.topology.file` writes that file again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

# Only closed segments are deleted: records outlive their retention by at most the time span of a segment.
SEGMENT_H_MAX = 24
JSON_SCHEMA_FILE = Path(__file__).resolve().parent / "topology.schema.json"

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1)]
NotNegativeNumber = Annotated[float, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
# The names that Kafka accepts for topics and groups, less the length of a namespace.
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9._-]{1,180}$")]
Role = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,59}$")]

Region = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9._-]{1,60}$")]  # as in QUIZSTREAM_REGION

# As in a policy (CSP): `https://example.com`, `https://*.example.com:8443`.
Origin = Annotated[str, msgspec.Meta(pattern=r"^https?://[a-zA-Z0-9.*-]{1,253}(:[0-9*]{1,5})?$")]


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section of the file. An unknown key is an error, so that no setting is without effect."""


class TopicFile(Strict, frozen=True):
    name: Name
    key: str  # the fields of the key: documentation
    partitions: Positive
    retention_h: Positive | None = None
    compact: bool = False
    schema: str | None = None  # an event of `schemas/`
    changelog_of: Role | None = None
    personal_data: bool = False
    record_bytes_max: Positive = 1_048_576  # after compression, headers included
    readers: tuple[str, ...] = ()  # readers outside this file
    writers: tuple[str, ...] = ()  # writers outside this file


class TableFile(Strict, frozen=True):
    changelog: Role
    retention_h: Positive  # of a key, after its last record


class AgentFile(Strict, frozen=True):
    source: Role
    stages: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    tables: tuple[Role, ...] = ()
    outputs: tuple[Role, ...] = ()
    reference_data: tuple[Role, ...] = ()


class Stream(Strict, frozen=True):
    group: Name
    chunk_records_max: Positive
    chunk_bytes_max: Positive
    session_timeout_s: Seconds
    commit_interval_s: Seconds


class Window(Strict, frozen=True):
    limit: Positive
    window_s: Positive


class Windows(Strict, frozen=True):
    contact: Window
    contact_quiz: Window
    remembered_per_contact_max: Positive


class Campaigns(Strict, frozen=True):
    activation_delay_ms: Positive
    conditions_max: Positive
    variables_max: Positive


class Breaker(Strict, frozen=True):
    failures: Positive
    open_s: Seconds


class KeyMemory(Strict, frozen=True):
    entries_max: Annotated[int, msgspec.Meta(ge=2)]
    age_s: Seconds


class Sources(Strict, frozen=True):
    """Networks in CIDR notation."""

    proxies: tuple[str, ...] = ()  # they name the client in `header`, whatever a client wrote there
    header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    trusted: tuple[str, ...] = ()  # no limit of an address applies


class Connections(Strict, frozen=True):
    total_max: Positive
    per_address_max: Positive
    descriptors_reserve: Positive  # open files that connections leave to the rest of the process


class RateLimits(Strict, frozen=True):
    """Sliding windows over all edge processes."""

    address: Window  # completions of one client address without a token
    pages: Window  # requests of one client address for public pages
    quiz_pages: Window  # requests of one client address for pages of quizzes
    token: Window  # completions of one token of a tenant
    service: Window  # completions of one token of all tenants
    quiz: Window
    tenant: Window
    progress: Window  # reports of progress of one client address
    progress_quiz: Window  # reports of progress of one quiz
    gather_ms: NotNegative  # requests of so long share a round trip to Valkey
    timeout_ms: Positive  # after that a process decides alone
    processes_assumed: Positive  # edge processes, until Valkey has counted them
    local_keys_max: Positive  # of a process's own windows
    regions: dict[Region, Window] = {}  # completions at all edges of a region


class Admission(Strict, frozen=True):
    """Completions in work at once, of each edge process: a limit that adapts to the delay."""

    delay_max_ms: Positive  # beyond the shortest answer; more is late
    in_work_min: Positive
    in_work_max: Positive
    adjust_ms: Positive  # between two changes of the limit
    late_for_ms: Positive  # answers that are late for so long make an overload
    calm_for_ms: Positive  # without a rejection for so long it is over


class Progress(Strict, frozen=True):
    """Reports of how far a visit has come: worth less than completions, so that they are rejected first."""

    body_bytes_max: Positive
    in_work_ratio_max: (
        Ratio  # of the admission's limit that both together may use before reports are rejected
    )


class AbuseWeights(Strict, frozen=True):
    """Points of one event. Of the first five only the excess over what is usual counts."""

    alike: NotNegativeNumber  # completions whose answers this address has sent before
    neighbours: NotNegativeNumber  # phones beside others of this address: a range that is walked through
    repeats: NotNegativeNumber  # the same person completes the quiz again faster than it can be read
    invalid: NotNegativeNumber  # requests that are rejected for what they are
    unanswered: NotNegativeNumber  # challenges without an answer
    pressed: NotNegativeNumber  # seconds with pressed_per_s rejections by rate limits
    flooded: NotNegativeNumber  # seconds with flooded_per_s of them
    phones: NotNegativeNumber  # distinct phones in a window, as a multiple of phones_max


class Abuse(Strict, frozen=True):
    """Anomaly detection: signals give points, which halve every `half_life_s`; docs/abuse.md."""

    interval_ms: Positive  # between two looks, and until all processes have a verdict
    timeout_ms: Positive  # of Valkey; after that a process works with its own observations
    half_life_s: Positive
    observed_max: Positive  # requests of one interval; what is beyond is not observed
    examined_min: Positive  # requests of an address in a minute, from which on its completions are examined
    subjects_max: Positive  # examined at once, of each process
    # Automatic ones, in Valkey and in each process; beyond that the oldest are deleted. As many of operators:
    # none of those is deleted, further ones are rejected.
    verdicts_max: Positive
    alone_subjects_max: Positive  # whose sums a process keeps without Valkey
    quizzes_max: Positive  # whose usual answers a process knows
    delay_points: Positive
    challenge_points: Positive
    block_points: Positive
    network_factor: Positive  # so many times the points; a network and a quiz are challenged at most
    quiz_factor: Positive
    weights: AbuseWeights
    failed_points: Positive  # of challenges that did not help: without them nothing is blocked
    pressure_points_max: Positive  # of rejections by rate limits: alone they never block
    pressed_per_s: Positive
    flooded_per_s: Positive
    alike_factor: Positive  # so many times as often alike as the quiz' other completions is usual
    prior_pairs: Positive  # weight of what the number of questions lets expect, against what is measured
    baseline_pairs_per_min: Positive  # measured, of each quiz and process
    neighbours_share: Ratio  # of phones
    invalid_share: Ratio  # of requests
    unanswered_share: Ratio  # of challenges
    answer_min_ms: Positive  # for one question
    phones_max: Positive  # distinct, of one address
    phones_window_s: Positive
    delay_ms: Positive
    delayed_max: Positive  # requests that wait at once; more are not delayed
    delay_s: Positive  # how long each state lasts
    challenge_s: Positive
    block_s: Positive  # the first one; each further one is twice as long
    block_max_s: Positive
    release_s: Positive
    kept_s: Positive  # a verdict with its address, after its end
    ticket_wait_s: Positive  # of a challenge: from so long after it on its ticket is valid
    ticket_s: Positive  # and for so long
    tickets_kept_max: Positive  # used ones that a process remembers
    moved_tickets_per_min: Positive  # of one network, that may come from others: a phone changes its network
    answer_within_s: Positive  # then a challenge without an answer counts

    def factor(self, kind: str) -> int:
        return {"network": self.network_factor, "quiz": self.quiz_factor}.get(kind, 1)


class Ping(Strict, frozen=True):
    interval_s: Positive
    interval_max_s: Positive


class Pages(Strict, frozen=True):
    """How long browsers and a CDN may keep a quiz page, and on which sites it may be in a frame."""

    max_age_s: NotNegative  # of browsers
    s_maxage_s: NotNegative  # of a CDN
    stale_while_revalidate_s: NotNegative
    stale_if_error_s: NotNegative
    database_connections_max: Positive  # of each edge process
    frame_ancestors: tuple[Origin, ...] = ()  # none: the page is never in a frame


class Edge(Strict, frozen=True):
    outputs: tuple[Role, ...]
    reference_data: tuple[Role, ...]
    body_bytes_max: Positive
    answers_max: Positive
    answer_chars_max: Positive
    key_chars_max: Positive
    key_memory: KeyMemory
    submitted_past_max_h: Positive
    submitted_past_max_h_service: Positive
    submitted_future_max_s: Positive
    deliver_timeout_ms: Positive
    in_flight_max: Positive
    breaker: Breaker
    webhook_bytes_max: Positive
    sources: Sources
    connections: Connections
    limits: RateLimits
    admission: Admission
    progress: Progress
    abuse: Abuse
    ping: Ping
    pages: Pages


class RatioBreaker(Strict, frozen=True):
    """Opens for `open_s` when so many of at least `calls_min` calls in `window_s` failed."""

    timeout_s: Seconds  # of one call
    error_ratio: Annotated[float, msgspec.Meta(gt=0, le=1)]
    calls_min: Positive
    window_s: Seconds
    open_s: Seconds


class CacheNamespace(Strict, frozen=True):
    ttl_s: Positive
    absent_ttl_s: Positive = 30  # of "it does not exist"
    stale_s: NotNegative = 0  # after ttl_s, while the source fails

    @property
    def life_s(self) -> int:
        return self.ttl_s + self.stale_s


class CacheNamespaces(Strict, frozen=True):
    lists: CacheNamespace
    quiz_pages: CacheNamespace
    tokens: CacheNamespace
    summaries: CacheNamespace
    permissions: CacheNamespace

    def of(self, name: str) -> CacheNamespace:
        found = getattr(self, name)
        assert isinstance(found, CacheNamespace)
        return found


class Cache(Strict, frozen=True):
    local_entries_max: Positive
    local_bytes_max: Positive
    valkey_timeout_ms: Positive
    patience_ms: NotNegative  # a load that takes longer is answered by a stale copy
    jitter_ratio: Ratio  # of a time to live: so much less, at random
    breaker: RatioBreaker  # before Valkey, and before the source of each namespace
    namespaces: CacheNamespaces


class Balancer(Strict, frozen=True):
    """nginx before edges: `quizstream balancer config`. All have defaults: a deployment may have none."""

    connections_max: Positive = 16_384  # of each of its processes, those to edges included
    requests_per_address_max: Positive = 100  # at once
    webhooks_max: Positive = 64  # at once; each has a buffer of edge.webhook_bytes_max
    header_line_bytes_max: Annotated[int, msgspec.Meta(ge=1_024, le=65_536)] = 8_192
    header_timeout_s: Seconds = 10
    body_timeout_s: Seconds = 10  # between two reads
    send_timeout_s: Seconds = 10  # between two writes
    keep_alive_s: Seconds = 30  # of a client's idle connection
    connect_timeout_s: Seconds = 2  # to an edge
    answer_timeout_s: Seconds = 30  # of an edge; longer than its start and edge.deliver_timeout_ms
    idle_connections: Positive = 64  # to edges, of each of its processes
    failures_max: Positive = 3  # within failed_s: then an edge has no requests for failed_s
    failed_s: Seconds = 2


class SinkFile(Strict, frozen=True):
    source: Role
    group: Name
    batch_records_max: Positive
    batch_wait_ms_max: Positive


class Postgres(Strict, frozen=True):
    partition_days_ahead: Positive
    partition_months_ahead: Positive
    partition_past_days_max: Positive
    pool_connections_max: Positive
    statement_timeout_ms: Positive
    audit_log_days: Positive
    inbound_days: Positive


class Outbox(Strict, frozen=True):
    outputs: tuple[Role, ...]
    batch_max: Positive
    poll_ms: Positive


class Sender(Strict, frozen=True):
    messages_per_s: Positive
    coexistence_messages_per_s: Positive
    in_flight_max: Positive
    lease_s: Seconds
    number_lease_s: Seconds
    route_patience_s: Seconds
    claim_batch_max: Positive
    publish_before_call: bool
    mark_to_call_max_ms: Positive
    call_timeout_s: Seconds
    attempts_max: Positive
    retry_base_s: Seconds
    retry_max_s: Seconds
    retry_jitter_ratio: Ratio
    redrives_max: Positive
    rejected_alike_max: Positive
    poll_ms: Positive
    session_messages_per_minute: Positive
    session_jitter_ratio: Ratio
    session_messages_per_day: dict[str, Annotated[list[Positive], msgspec.Meta(min_length=1)]]
    lookups_max: NotNegative
    lookup_after_s: Seconds
    lookup_timeout_s: Seconds


class DeadLetters(Strict, frozen=True):
    redrives_max: NotNegative
    redrive_batch_max: Positive
    payload_retention_h: Positive
    row_retention_days: Positive


class Retention(Strict, frozen=True):
    archive_days: Positive
    ended_campaign_days: Positive
    visit_days: Positive
    provider_status_days: Positive
    contact_days: Positive
    revoked_token_days: Positive
    idempotency_days: Positive
    webhook_message_days: Positive
    disabled_user_days: Positive


class TenantPool(Strict, frozen=True):
    connections_min: Positive
    connections_max: Positive
    of_tenant_max: Positive  # requests of one tenant at once; then 429
    lifetime_s: Seconds  # of one connection
    wait_s: Seconds  # for a connection of the pool; then the request is answered with 503
    statement_timeout_ms: Positive


class SigningKeySet(Strict, frozen=True):
    refresh_s: Seconds
    unknown_refresh_s: Seconds  # at most so often for a key that is not known
    timeout_s: Seconds  # of reading it


class Hashing(Strict, frozen=True):
    """Of passwords: each takes 64 MiB and 0.1 s of a core (sinks/postgres/catalogue/users/passwords.py)."""

    threads: Positive
    waiting_max: Positive  # more are answered with 503


class TenantUsers(Strict, frozen=True):
    users_max: Positive  # of a tenant
    body_bytes_max: Positive  # of a request with a password
    hashing: Hashing


class Tenants(Strict, frozen=True):
    """The tenant API."""

    body_bytes_max: Positive
    pool: TenantPool
    signing_keys: SigningKeySet
    users: TenantUsers


class Webhooks(Strict, frozen=True):
    """Events to endpoints of tenants."""

    endpoints_max: Positive  # of a tenant
    poll_ms: Positive
    connect_timeout_s: Seconds  # name, connection and TLS
    call_timeout_s: Seconds  # of all of a call
    lease_s: Seconds  # of a message in flight; then another process sends it
    answer_bytes_max: Positive  # of the body of an answer; the rest is not read
    in_flight_max: Positive  # to an endpoint, of each process
    in_flight_of_tenant_max: Positive  # to all its endpoints, of each process; less than in_flight_total_max
    in_flight_total_max: Positive
    resolving_of_tenant_max: (
        Positive  # names at once, of each process, also of calls that have ended meanwhile
    )
    pending_of_tenant_max: (
        Positive  # messages that wait; beyond it the oldest of its largest backlog have failed
    )
    retry_after_s: Annotated[tuple[Seconds, ...], msgspec.Meta(min_length=1)]
    retry_jitter_ratio: Ratio
    keep_h: Positive  # a message that still waits has failed then
    circuit: Breaker  # of an endpoint: after so many failures in a row one call each open_s
    disable_failing_h: Positive  # an endpoint without one success for so long
    development_networks: tuple[str, ...] = ()  # in CIDR notation; instead of the internet, and with http


class Visits(Strict, frozen=True):
    silent_min: Positive  # a visit without a report for so long counts as left


class Alerts(Strict, frozen=True):
    lag_records_max: Positive
    lag_s_max: Seconds
    error_ratio_max: Ratio


class TopologyFile(Strict, frozen=True):
    version: Literal[1]
    topics: dict[Role, TopicFile]
    tables: dict[Role, TableFile]
    agents: dict[Role, AgentFile]
    stream: Stream
    windows: Windows
    campaigns: Campaigns
    edge: Edge
    tenants: Tenants
    cache: Cache
    sinks: dict[Role, SinkFile]
    postgres: Postgres
    outbox: Outbox
    sender: Sender
    dead_letters: DeadLetters
    retention: Retention
    visits: Visits
    webhooks: Webhooks
    alerts: Alerts
    balancer: Balancer = Balancer()


def json_schema() -> str:
    """The JSON Schema of the file, as committed beside this module."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **msgspec.json.schema(TopologyFile),
    }
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    JSON_SCHEMA_FILE.write_text(json_schema())
