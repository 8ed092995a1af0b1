"""The browser client in Chromium: it keeps completions until the edge decides them, and sends each once."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from ops.embedded.stack import ServerUrls
from schemas.records import Completion
from tests.conftest import own_database
from tests.support.browser import browser, key_of, require_chromium
from tests.support.edge import Edge, wait_until
from tests.support.pages import Pages, pages
from tests.support.stalling_edge import stalling

WITHIN_MS = 60_000  # a bound on a hang
NO_LOCKS = "Object.defineProperty(navigator, 'locks', {value: undefined})"
NO_STORAGE = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden'); }})"
NO_KEEPALIVE = "delete Request.prototype.keepalive"
LISTENS = "window.told = []; addEventListener('quizstream', event => told.push(event.detail));"


pytestmark = pytest.mark.xdist_group("pages-client")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def site(stack: ServerUrls, migrated_template: str) -> Iterator[Pages]:
    with (
        own_database(stack, migrated_template) as database_url,
        pages(
            stack.kafka_bootstrap, database_url, stack.redis_url, f"tclient{secrets.token_hex(4)}."
        ) as shown,
    ):
        wait_until(lambda: shown.get("/quiz/feedback").status == 200, "the quiz")
        yield shown


@pytest.fixture
def edge(site: Pages) -> Edge:
    return site.edges[0]


@pytest.fixture(scope="module")
def host(site: Pages) -> Iterator[str]:
    """The address of a page of another origin than the edge's, with the client by a script tag."""
    page = f"<!doctype html><script src='{site.edges[0].url}/quizstream.js'></script><h1>Host</h1>"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(page)))
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/page"
    server.shutdown()
    server.server_close()
    thread.join(30)


@dataclass(frozen=True)
class Host:
    context: BrowserContext
    address: str


@pytest.fixture
def visitor(chromium: Browser, host: str) -> Iterator[Host]:
    one = chromium.new_context()
    yield Host(one, host)
    one.close()


@contextmanager
def opened(visitor: Host, *before: str, clock: bool = False) -> Iterator[Page]:
    """A page with the client. Whatever it throws into the page fails the test. `clock`: time stands still."""
    page = visitor.context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    if clock:
        page.clock.install()
    for script in (LISTENS, *before):
        page.add_init_script(script)
    page.goto(visitor.address)
    if clock:
        page.clock.pause_at(page.evaluate("Date.now() / 1000 + 60"))
    yield page
    page.close()
    assert errors == [], errors


def submit(page: Page, name: str, **more: Any) -> None:
    """Its outcome will be `window.outcomes[name]`."""
    page.evaluate(
        """([name, more]) => {
            window.outcomes ??= {};
            const body = {answers: {mood: "good"}, contact: {name, ...more}};
            (window.client ?? quizstream).submit("feedback", body).then(one => outcomes[name] = one);
        }""",
        [name, more],
    )


def outcome(page: Page, name: str) -> Any:
    page.wait_for_function("name => window.outcomes?.[name]", arg=name, timeout=WITHIN_MS)
    return page.evaluate("name => outcomes[name]", name)


def told(page: Page, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("kind => told.filter(one => one.kind === kind)", kind)
    return found


def wait_told(page: Page, kind: str, count: int = 1) -> None:
    page.wait_for_function(
        "([kind, count]) => told.filter(one => one.kind === kind).length >= count",
        arg=[kind, count],
        timeout=WITHIN_MS,
    )


def run_until_told(page: Page, kind: str, count: int = 1, step_ms: int = 1) -> None:
    """Move a clock that stands still, in steps: what is due runs when the browser has granted locks."""

    def is_told() -> bool:
        page.clock.run_for(step_ms)
        return len(told(page, kind)) >= count

    wait_until(is_told, f"{count} times {kind}")


def pending(page: Page) -> int:
    return int(page.evaluate("quizstream.pending().length"))


def wait_pending(page: Page, count: int) -> None:
    """A tab sees what another one has written after a moment."""
    page.wait_for_function("count => quizstream.pending().length === count", arg=count, timeout=WITHIN_MS)


def stored(edge: Edge, *names: str) -> list[Completion]:
    """Each completion once: a browser may repeat a request whose connection was lost, with the same key."""
    found = {one.completion_id: one for one in edge.completions() if one.personal.name in names}
    return list(found.values())


def posts(context: BrowserContext) -> Counter[str]:
    """Counts the requests of each key from now on."""
    counted: Counter[str] = Counter()

    def count(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/completions"):
            counted[key_of(request)] += 1

    context.on("request", count)
    return counted


def test_answers_survive_a_lost_network_and_a_closed_browser(
    site: Pages, chromium: Browser, tmp_path: Path
) -> None:
    """A person sends the page's form offline, closes the browser, and opens the page again later."""
    address = f"{site.edges[0].url}/quiz/feedback"

    def start() -> BrowserContext:
        return chromium.browser_type.launch_persistent_context(
            tmp_path, executable_path=require_chromium(), args=["--no-sandbox"]
        )

    first = start()
    page = first.new_page()
    page.goto(address)
    page.locator("label:has(input[value=good])").click()
    page.locator("#name").fill("Ana offline")
    first.set_offline(True)
    page.locator("button").click()
    expect(page.locator("#status")).to_contain_text("guardadas neste aparelho", timeout=WITHIN_MS)
    first.close()
    # What a closing page keeps alive may pass Chromium's emulated lost network: later it comes as a repeat.
    assert len(stored(site.edges[0], "Ana offline")) <= 1

    second = start()
    page = second.new_page()
    page.goto(address)
    expect(page.locator("#status")).to_contain_text("foram enviadas", timeout=WITHIN_MS)
    assert pending(page) == 0
    page.reload()
    expect(page.locator("#status")).to_have_text("")
    kept = page.evaluate("JSON.stringify(localStorage)")
    second.close()
    assert len(stored(site.edges[0], "Ana offline")) == 1
    assert kept == "{}"


def test_a_network_that_returns_sends_what_waits(site: Pages, chromium: Browser) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site.edges[0].url}/quiz/feedback")
    page.locator("label:has(input[value=good])").click()
    page.locator("#name").fill("Bia online")
    context.set_offline(True)
    page.locator("button").click()
    expect(page.locator("#status")).to_contain_text("guardadas neste aparelho", timeout=WITHIN_MS)
    context.set_offline(False)
    expect(page.locator("#thanks")).to_be_visible(timeout=WITHIN_MS)
    context.close()
    assert len(stored(site.edges[0], "Bia online")) == 1


@pytest.mark.parametrize("locks", ["web locks", "a lease in storage"])
def test_two_tabs_send_each_completion_once(visitor: Host, edge: Edge, locks: str) -> None:
    """Both tabs have submitted without a network; a third one closed before it returned."""
    before = (NO_LOCKS,) if locks == "a lease in storage" else ()
    names = [f"{locks} {number}" for number in range(5)]
    with opened(visitor, *before) as one, opened(visitor, *before) as other:
        with opened(visitor, *before) as third:
            visitor.context.set_offline(True)
            submit(third, names[4])
            wait_told(third, "waiting")
        for page, own in ((one, names[:2]), (other, names[2:4])):
            for name in own:
                submit(page, name)
            wait_told(page, "stored", 2)
        for page in (one, other):
            wait_pending(page, 5)
        wait_until(lambda: sum(len(told(page, "waiting")) for page in (one, other)) > 0, "an attempt")
        sent = posts(visitor.context)
        visitor.context.set_offline(False)
        for page, own in ((one, names[:2]), (other, names[2:4])):
            for name in own:
                assert outcome(page, name)["kind"] == "accepted"
        wait_pending(one, 0)
    assert sorted(one.personal.name or "" for one in stored(edge, *names)) == names
    assert len(sent) == 5


def test_retry_after_is_kept_over_a_reload(visitor: Host, edge: Edge) -> None:
    asked: list[str] = []

    def unavailable_once(route: Route) -> None:
        asked.append(key_of(route.request))
        if len(asked) == 1:
            headers = {
                "retry-after": "120",
                "access-control-allow-origin": "*",
                "access-control-expose-headers": "retry-after",
            }
            route.fulfill(status=503, headers=headers, body="{}")
        else:
            route.continue_()

    visitor.context.route("**/completions", unavailable_once)
    with opened(visitor, clock=True) as page:
        submit(page, "Caio 503")
        run_until_told(page, "waiting")
        (waiting,) = told(page, "waiting")
        assert 119_000 <= waiting["waitMs"] <= 122_000
        page.clock.run_for(60_000)
        page.reload()
        page.clock.run_for(58_000)
        assert len(asked) == 1
        assert pending(page) == 1
        page.clock.run_for(5_000)
        run_until_told(page, "accepted")
        assert pending(page) == 0
    assert len(asked) == 2
    assert len(set(asked)) == 1
    assert len(stored(edge, "Caio 503")) == 1


def test_a_challenge_is_answered_with_its_ticket_and_without_a_back_off(visitor: Host, edge: Edge) -> None:
    """Seven in a row: failures would have opened the circuit breaker, and their waits would be minutes."""
    asked: list[str] = []
    headers = {
        "retry-after": "2",
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "retry-after",
    }

    def challenged(route: Route) -> None:
        asked.append(route.request.url.partition("?")[2])
        if len(asked) > 7:
            route.continue_()
        else:
            body = f'{{"type": "/problems/challenged", "status": 429, "ticket": "t{len(asked)}-_="}}'
            route.fulfill(status=429, headers=headers, body=body, content_type="application/problem+json")

    visitor.context.route("**/completions**", challenged)
    with opened(visitor, clock=True) as page:
        submit(page, "Caio 429")
        run_until_told(page, "waiting")
        (waiting,) = told(page, "waiting")
        assert 1_000 <= waiting["waitMs"] <= 2_000
        page.reload()
        run_until_told(page, "accepted", step_ms=200)
    assert asked == ["", *(f"ticket=t{n}-_%3D" for n in range(1, 8))]
    assert len(stored(edge, "Caio 429")) == 1


def test_a_rejection_is_told_and_ends(visitor: Host, edge: Edge) -> None:
    sent = posts(visitor.context)
    with opened(visitor) as page:
        submit(page, "Davi 422", phone="12")
        found = outcome(page, "Davi 422")
        assert (found["kind"], found["status"]) == ("rejected", 422)
        assert found["problem"]["pointer"] == "#/contact/phone"
        (event,) = told(page, "rejected")
        assert event["problem"] == found["problem"]
        assert pending(page) == 0
    assert list(sent.values()) == [1]


def test_a_strange_answer_before_the_edge_is_not_the_edges(visitor: Host, edge: Edge) -> None:
    """A log-in page of a network answers 200, then 403; then the edge does."""
    answers = [(200, "<h1>Log in</h1>"), (403, "<h1>Log in</h1>")]
    headers = {"access-control-allow-origin": "*"}

    def strange(route: Route) -> None:
        if answers:
            status, body = answers.pop(0)
            route.fulfill(status=status, body=body, headers=headers, content_type="text/html")
        else:
            route.continue_()

    visitor.context.route("**/completions", strange)
    with opened(visitor) as page:
        submit(page, "Eva hotel")
        assert outcome(page, "Eva hotel")["kind"] == "accepted"
    assert len(stored(edge, "Eva hotel")) == 1


def test_a_page_that_closes_during_its_request_loses_nothing(visitor: Host, edge: Edge) -> None:
    with stalling(edge) as held:
        base = f"window.client = quizstream.create({{base: '{held.url}'}})"
        with opened(visitor) as page:
            page.evaluate(base)
            submit(page, "Fabi closed")
            wait_until(lambda: len(held.bodies) == 1, "the request")
        assert stored(edge, "Fabi closed") == []
        held.passes.set()
        wait_until(lambda: len(stored(edge, "Fabi closed")) == 1, "the completion")
        with opened(visitor) as page:
            wait_told(page, "accepted")
            (accepted,) = told(page, "accepted")
            assert accepted["repeated"] is True
            assert pending(page) == 0
        assert len(set(held.keys)) == 1
    assert len({one.completion_id for one in stored(edge, "Fabi closed")}) == 1


@pytest.mark.parametrize("by", ["fetch", "beacon"])
def test_a_page_that_hides_sends_what_backs_off(visitor: Host, edge: Edge, by: str) -> None:
    """Its clock stands still: without the hiding there is no second request."""
    with stalling(edge) as held:
        held.passes.set()
        fails = [True]

        def fail_once(route: Route) -> None:
            if fails:
                fails.pop()
                route.abort()
            else:
                route.continue_()

        visitor.context.route("**/completions", fail_once)
        name = f"Gil {by}"
        before = (NO_KEEPALIVE,) if by == "beacon" else ()
        with opened(visitor, *before, clock=True) as page:
            page.evaluate(f"window.client = quizstream.create({{base: '{held.url}', random: () => 1}})")
            submit(page, name)
            run_until_told(page, "waiting")
            assert held.bodies == []
            visitor.context.unroute("**/completions")
            page.goto("about:blank")
            wait_until(lambda: len(stored(edge, name)) == 1, "the completion")
        assert held.media_types == ["text/plain;charset=UTF-8"]


def test_a_failing_edge_is_left_alone(visitor: Host, edge: Edge) -> None:
    """Five failures in a row open the breaker, whatever the jitter of the back-off (here: none)."""
    asked: list[str] = []

    def fail(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=500, body="{}", headers={"access-control-allow-origin": "*"})

    visitor.context.route("**/completions", fail)
    with opened(visitor, clock=True) as page:
        page.evaluate("window.client = quizstream.create({random: () => 0})")
        submit(page, "Hugo")
        run_until_told(page, "waiting", 5)
        page.clock.run_for(14_000)
        assert len(asked) == 5
        page.clock.run_for(2_000)
        run_until_told(page, "waiting", 6)
        page.clock.run_for(10_000)
        assert len(asked) == 6


def test_the_longest_wait_doubles_up_to_its_limit(visitor: Host) -> None:
    """Full jitter chooses any part of it: here all. After the fifth failure the breaker waits longer."""
    visitor.context.route("**/completions", lambda route: route.abort())
    waits = [1_000, 2_000, 4_000, 6_000, 30_000, 30_000]
    with opened(visitor, clock=True) as page:
        page.evaluate("window.client = quizstream.create({random: () => 1, waitMaxMs: 6_000})")
        submit(page, "Lia")
        for count, wait_ms in enumerate(waits, 1):
            run_until_told(page, "waiting", count)
            page.clock.run_for(wait_ms - 500)
            assert len(told(page, "waiting")) == count
            page.clock.run_for(500)
        assert [one["waitMs"] for one in told(page, "waiting")][: len(waits)] == waits


def test_a_full_queue_and_an_old_entry_are_told(visitor: Host, edge: Edge) -> None:
    visitor.context.route("**/completions", lambda route: route.abort())
    with opened(visitor, clock=True) as page:
        page.evaluate("window.client = quizstream.create({entriesMax: 2})")
        for name in ("one", "two", "three"):
            submit(page, name)
        assert outcome(page, "three") == {"kind": "dropped", "status": 0, "reason": "full"}
        assert pending(page) == 2
        page.clock.fast_forward(7 * 24 * 3_600_000 + 1_000)
        run_until_told(page, "dropped", 3, step_ms=60_000)
        assert [one["reason"] for one in told(page, "dropped")] == ["full", "old", "old"]
        assert pending(page) == 0


def test_a_page_without_storage_still_sends(visitor: Host, edge: Edge) -> None:
    with opened(visitor, NO_STORAGE) as page:
        submit(page, "Ines")
        assert outcome(page, "Ines")["kind"] == "accepted"
        (event,) = told(page, "stored")
        assert event["persistent"] is False


def test_nothing_is_thrown_into_the_page(visitor: Host, edge: Edge) -> None:
    broken = (
        "localStorage['quizstream.1.x'] = '{'; localStorage['quizstream.1.y'] = '{\"key\": 1}';"
        "localStorage['other'] = 'of the page'"
    )
    with opened(visitor, broken) as page:
        reasons = page.evaluate(
            """async () => {
                const round = {}; round.round = round;
                const bodies = [round, null, undefined, {answers: 1n}];
                const outcomes = await Promise.all(bodies.map(one => quizstream.submit("feedback", one)));
                const first = quizstream.submit("feedback", {answers: {}}, "same");
                const other = await quizstream.submit("feedback", {answers: {mood: "bad"}}, "same");
                const wrong = await quizstream.send("http://[", {answers: {}});
                return [...outcomes, other, wrong].map(one => one.reason);
            }"""
        )
        assert reasons == ["unusable"] * 4 + ["key-reused", "unusable"]
        wait_pending(page, 0)
        assert page.evaluate("JSON.stringify(localStorage)") == '{"other":"of the page"}'


def test_a_person_may_have_everything_forgotten(visitor: Host, edge: Edge) -> None:
    visitor.context.route("**/completions", lambda route: route.abort())
    with opened(visitor) as page, opened(visitor) as other:
        submit(page, "Joana")
        wait_told(page, "waiting")
        wait_pending(other, 1)
        other.evaluate("quizstream.clear()")
        assert outcome(page, "Joana") == {"kind": "dropped", "status": 0, "reason": "cleared"}
        for one in (page, other):
            wait_pending(one, 0)
            one.wait_for_function("localStorage.length === 0", timeout=WITHIN_MS)


def test_the_module_is_another_form_of_the_client(visitor: Host, edge: Edge) -> None:
    with opened(visitor) as page:
        page.add_script_tag(
            type="module",
            content=f"import {{create}} from '{edge.url}/quizstream.mjs'; window.client = create();",
        )
        page.wait_for_function("window.client", timeout=WITHIN_MS)
        submit(page, "Katia")
        assert outcome(page, "Katia")["kind"] == "accepted"
    (completion,) = stored(edge, "Katia")
    assert completion.answers == {"mood": "good"}
