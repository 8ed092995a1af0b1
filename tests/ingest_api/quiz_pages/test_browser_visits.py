"""What pages in Chromium report about a visit: which question it reached and how it ended, and no more."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from ops.embedded.stack import ServerUrls
from schemas.records import Progress
from tests.conftest import own_database
from tests.support.browser import browser, phone
from tests.support.edge import Edge, reports, wait_until
from tests.support.pages import Pages, pages

WITHIN_MS = 60_000  # a bound on a hang
HIDES = """hidden => {
    Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""

pytestmark = pytest.mark.xdist_group("pages-visits")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def site(stack: ServerUrls, migrated_template: str) -> Iterator[Pages]:
    with (
        own_database(stack, migrated_template) as database_url,
        pages(
            stack.kafka_bootstrap, database_url, stack.redis_url, f"tvisits{secrets.token_hex(4)}."
        ) as shown,
    ):
        wait_until(lambda: shown.get("/quiz/feedback").status == 200, "the quiz")
        yield shown


@pytest.fixture
def edge(site: Pages) -> Edge:
    return site.edges[0]


def posted(page: Page) -> list[dict[str, Any]]:
    """The reports that the page sends from now on."""
    bodies: list[dict[str, Any]] = []

    def add(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/progress"):
            bodies.append(json.loads(request.post_data or ""))

    page.on("request", add)
    return bodies


def accepted(edge: Edge, visit_id: str, count: int) -> list[Progress]:
    """Its reports in the order of its clock, once there are so many."""

    def found() -> list[Progress]:
        return [one for one in reports(edge) if one.visit_id == visit_id]

    wait_until(lambda: len(found()) >= count, f"{count} reports")
    return sorted(found(), key=lambda one: one.at)


def wait_for(page: Page, holds: Callable[[], bool], what: str) -> None:
    """As `wait_until`, while the events of the page go on."""

    def happened() -> bool:
        page.evaluate("1")
        return holds()

    wait_until(happened, what)


def shape(events: list[Progress]) -> list[tuple[str, int]]:
    return [(one.kind, one.position) for one in events]


def test_a_person_who_leaves_at_the_second_question_is_reported_and_one_who_only_looks_is_not(
    edge: Edge, chromium: Browser
) -> None:
    with phone(chromium) as page:
        sent = posted(page)
        page.goto(f"{edge.url}/quiz/feedback")
        page.goto("about:blank")
        assert sent == []
        page.goto(f"{edge.url}/quiz/feedback")
        page.locator("label:has(input[value=good])").click()
        page.locator("label:has(input[name='answer:rating'])").nth(4).click()
        page.locator("label:has(input[value=bad])").click()
        wait_for(page, lambda: sent != [], "the first report")
        visit_id = sent[0]["visit_id"]
        page.goto("about:blank")
        wait_until(
            lambda: any(one.kind == "abandoned" for one in accepted(edge, visit_id, 1)), "the last one"
        )
    assert {tuple(sorted(one)) for one in sent} == {("at", "kind", "question_id", "visit_id")}
    events = accepted(edge, visit_id, 2)
    assert shape(events)[0] == ("started", 1)
    assert shape(events)[-1] == ("abandoned", 2)
    assert {one.position for one in events} == {1, 2}


def test_a_person_who_sends_the_form_completes_and_does_not_leave(edge: Edge, chromium: Browser) -> None:
    with phone(chromium) as page:
        sent = posted(page)
        page.goto(f"{edge.url}/quiz/feedback")
        page.locator("label:has(input[value=good])").click()
        page.locator("#name").fill("Íris")
        page.locator("button").click()
        expect(page.locator("#thanks")).to_be_visible(timeout=WITHIN_MS)
        wait_for(page, lambda: sent[-1]["kind"] == "completed", "the last report")
        page.goto("about:blank")
        visit_id = sent[0]["visit_id"]
    assert shape(accepted(edge, visit_id, 2)) == [("started", 1), ("completed", 1)]
    assert [one["kind"] for one in sent] == ["started", "completed"]
    assert not any(visit_id in str(one) for one in edge.completions())


@contextmanager
def reporting(
    context: BrowserContext, edge: Edge, *, clock: bool = False
) -> Iterator[tuple[Page, list[Any]]]:
    """A page that reports by calls: `visit`, without a pause between two reports."""
    page = context.new_page()
    if clock:
        page.clock.install()
    sent = posted(page)
    page.goto(f"{edge.url}/quiz/feedback")
    page.evaluate("window.visit = quizstreamVisit('feedback', 0)")
    yield page, sent
    page.close()


def test_a_visit_that_was_left_is_resumed_by_the_next_input(edge: Edge, chromium: Browser) -> None:
    context = chromium.new_context()
    with reporting(context, edge) as (page, sent):
        page.evaluate("visit.reached('mood')")
        for hidden in (True, True, False):
            page.evaluate(HIDES, hidden)
        page.evaluate("visit.reached('mood')")
        wait_for(page, lambda: len(sent) == 3, "three reports")
        page.evaluate("visit.reached('mood')")
        page.evaluate("visit.submitted(new Promise(resolve => window.answered = resolve))")
        page.evaluate("answered({status: 422})")
        page.evaluate(HIDES, True)
        wait_for(page, lambda: len(sent) == 4, "four reports")
        page.evaluate("visit.submitted(new Promise(() => {}))")
        page.evaluate(HIDES, True)
        wait_for(page, lambda: len(sent) == 5, "five reports: the edge may still reject the completion")
        page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
        page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
        wait_for(page, lambda: len(sent) == 7, "seven reports: the page ends before the answer")
    context.close()
    kinds = [one["kind"] for one in sent]
    assert kinds[:4] == ["started", "abandoned", "progressed", "abandoned"]
    assert kinds[4:] == ["progressed", "progressed", "completed"]


def test_only_the_newest_report_is_sent_again(edge: Edge, chromium: Browser) -> None:
    context = chromium.new_context()
    asked: list[dict[str, Any]] = []

    def overloaded(route: Route) -> None:
        asked.append(json.loads(route.request.post_data or ""))
        if len(asked) < 4:
            route.fulfill(status=503, body="{}")
        else:
            route.continue_()

    context.route("**/progress", overloaded)
    with reporting(context, edge, clock=True) as (page, _sent):
        page.evaluate("visit.reached('mood')")
        page.evaluate("visit.reached('rating')")
        page.clock.run_for(10)
        wait_for(page, lambda: len(asked) == 2, "both reports")

        def is_sent_again() -> bool:
            page.clock.run_for(1_000)
            return len(asked) == 4

        wait_until(is_sent_again, "two more attempts")
        page.clock.run_for(600_000)
        page.evaluate("1")
        again = [*asked]
    context.close()
    assert [one["question_id"] for one in again] == ["mood", "rating", "rating", "rating"]
    assert again[1] == again[2] == again[3]
    assert shape(accepted(edge, again[0]["visit_id"], 1))[0] == ("progressed", 2)
