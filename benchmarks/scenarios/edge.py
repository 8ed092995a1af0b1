"""Cost of a request at the edge: constant rates over HTTP, with Kafka behind it and no other process.

The ids that were answered with 202 are compared with those in the topic before a figure is printed. Pages of
a quiz come from the edge's cache, one request after the other on one connection.
"""

from __future__ import annotations

import http.client
import secrets
import time
from urllib.parse import urlsplit

from benchmarks.load.generation import Generation
from benchmarks.load.generator import Constant
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import CheckFailed, require_answered
from benchmarks.measure.cpu import CpuClock, sleep_until
from benchmarks.measure.deployment import Log, prepared, processes
from benchmarks.measure.figures import Spread, percentiles_ms, spreads
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.topics import events_of
from benchmarks.plans import Edge
from ops.deployment.prepare import publish
from ops.locate import Deployment

WARM_UP_S = 5.0
CALM_S = 2.0  # between two runs
COUNTED = ("edge", "kafka", "generator")
PAGES = ("page_200", "page_200_gzip", "page_304")


class Result(Measured, frozen=True, kw_only=True):
    """By rate: latencies from when a request was due; CPU microseconds of a request, by process.

    `pages`: of a cached page, whole, packed, and validated by its ETag.
    """

    plan: Edge
    checked: int
    rates: dict[str, dict[str, Spread]]
    pages: dict[str, Spread]


def measure(plan: Edge, log: Log) -> Result:
    """Every rate in each round. Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("edge")
    runs: dict[float, list[dict[str, float]]] = {rate: [] for rate in plan.rates_per_s}
    scene = Scene(secrets.token_hex(3), matching_percent=0, numbers=0)
    answered: list[str] = []
    of_pages: list[dict[str, float]] = []
    with prepared(log, plan.port_base) as found:
        plant(found, scene)
        publish(found)
        with processes(found, ["edge"]):
            for turn in range(plan.rounds):
                for rate in plan.rates_per_s:
                    log(f"round {turn + 1} of {plan.rounds}: {rate:g}/s for {plan.seconds:g} s")
                    figures, ids = _run(found, scene, rate, plan.seconds, first_key=len(answered))
                    runs[rate].append(figures)
                    answered += ids
                of_pages.append(_pages(found, scene, plan.seconds / len(PAGES)))
            _compare(found, answered)
    rates = {f"{rate:g}/s": spreads(of_rate) for rate, of_rate in runs.items()}
    return Result(**head, plan=plan, checked=len(answered), rates=rates, pages=spreads(of_pages))


def _run(
    found: Deployment, scene: Scene, rate: float, seconds: float, first_key: int
) -> tuple[dict[str, float], list[str]]:
    """Figures, and the answered ids."""
    with Generation(found, scene, Constant.of(rate, WARM_UP_S + seconds), first_key) as generation:
        began_at = generation.begun_at + WARM_UP_S
        ended_at = began_at + seconds
        used = CpuClock(found, {"generator": generation.pid}).during(began_at, ended_at)
        requests = generation.end()
    require_answered(requests)
    sleep_until(ended_at + CALM_S)
    accepted = requests.accepted_in(began_at, ended_at)
    ack = percentiles_ms(requests.latencies_s(began_at, ended_at))
    figures = {
        "accepted_per_s": accepted / seconds,
        "ack_p50_ms": ack.p50 or 0.0,
        "ack_p99_ms": ack.p99 or 0.0,
        **{f"{name}_cpu_us": 1e6 * used.get(name, 0.0) / max(1, accepted) for name in COUNTED},
    }
    return figures, list(requests.accepted())


def _pages(found: Deployment, scene: Scene, seconds: float) -> dict[str, float]:
    """CPU microseconds of the edge and answers a second. Raises CheckFailed for an unexpected answer."""
    address = urlsplit(found.settings.edge_url)
    path = f"/quiz/{scene.questionnaire.quiz_id}"
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    clock, figures = CpuClock(found), {}
    etag = _page(connection, path, {}, 200)
    asked = {
        "page_200": {},
        "page_200_gzip": {"accept-encoding": "gzip"},
        "page_304": {"if-none-match": etag},
    }
    for name in PAGES:
        status = 304 if name == "page_304" else 200
        before, count, began_s = clock.read(), 0, time.monotonic()
        while time.monotonic() - began_s < seconds:
            _page(connection, path, asked[name], status)
            count += 1
        used_s = clock.read()["edge"] - before["edge"]
        figures[f"{name}_cpu_us"] = 1e6 * used_s / count
        figures[f"{name}_per_s"] = count / (time.monotonic() - began_s)
    connection.close()
    return figures


def _page(connection: http.client.HTTPConnection, path: str, headers: dict[str, str], status: int) -> str:
    """Return the ETag."""
    connection.request("GET", path, headers={"accept": "text/html", "accept-encoding": "identity"} | headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status != status:
        raise CheckFailed(f"GET {path} was answered {answer.status} instead of {status}")
    return answer.headers.get("etag", "")


def _compare(found: Deployment, answered: list[str]) -> None:
    """Raises CheckFailed where the topic holds other ids than were answered."""
    stored = {event.completion_id for _, event in events_of(found, "completions")}
    if stored != set(answered) or len(stored) != len(answered):
        raise CheckFailed(f"{len(answered)} ids were answered, {len(stored)} are in the topic")
