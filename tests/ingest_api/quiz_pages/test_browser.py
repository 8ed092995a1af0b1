"""A person fills in a page on a phone: by keyboard alone, light and dark, with and without a script."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from playwright.sync_api import Browser, Page, Route, expect

from ops.deployment.seed import SEEDS
from ops.embedded.stack import ServerUrls
from schemas.records import Completion
from sinks.postgres.catalogue.catalogue import QuizDraft
from tests.conftest import own_database
from tests.support.browser import browser, key_of, phone, serious_problems
from tests.support.edge import wait_until
from tests.support.pages import QUIZ, TENANT, Pages, pages

PICTURE = Path(__file__).resolve().parents[3] / "docs" / "quiz-page.png"
WRITE_PICTURE = "QUIZSTREAM_WRITE_PICTURE"
TABS_MAX = 60


pytestmark = pytest.mark.xdist_group("pages-browser")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def site(stack: ServerUrls, migrated_template: str) -> Iterator[Pages]:
    with (
        own_database(stack, migrated_template) as database_url,
        pages(
            stack.kafka_bootstrap, database_url, stack.redis_url, f"tbrowser{secrets.token_hex(4)}."
        ) as shown,
    ):
        for seed in msgspec.convert(yaml.safe_load((SEEDS / "quizzes.yaml").read_text()), list[QuizDraft]):
            shown.save(msgspec.structs.replace(seed, tenant_id=TENANT))
        for quiz_id in ("bfi", "iqitems"):
            wait_until(lambda quiz_id=quiz_id: shown.get(f"/quiz/{quiz_id}").status == 200, quiz_id)  # type: ignore[misc]
        yield shown


def address(site: Pages, quiz_id: str = "feedback") -> str:
    return f"{site.edges[0].url}/quiz/{quiz_id}"


def sent_by(site: Pages, name: str) -> list[Completion]:
    return [one for one in site.edges[0].completions() if one.personal.name == name]


def focused(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        """() => {
            const one = document.activeElement, shown = one.nextElementSibling || one;
            const outline = getComputedStyle(one.matches("label input") ? shown : one);
            const box = (one.closest("label") || one).getBoundingClientRect();
            return {name: one.name || one.tagName, value: one.value, outline: outline.outlineStyle,
                    width: box.width, height: box.height, top: box.top, bottom: box.bottom};
        }"""
    )
    return found


def tab_to(page: Page, name: str) -> dict[str, Any]:
    """Press Tab until the field has the focus; each stop on the way is visible and large enough."""
    for _ in range(TABS_MAX):
        page.keyboard.press("Tab")
        found = focused(page)
        assert found["outline"] == "solid", found
        assert found["height"] >= 44, found
        assert found["width"] >= 40, found
        assert found["top"] >= 0, found
        assert found["bottom"] <= page.viewport_size["height"], found  # type: ignore[index]
        if found["name"] == name:
            return found
    pytest.fail(f"Tab does not reach {name}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_filled_in_by_keyboard_alone_on_360_pixels(
    site: Pages, chromium: Browser, scheme: str
) -> None:
    with phone(chromium, scheme) as page:
        page.goto(address(site))
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        keys = page.keyboard
        tab_to(page, "answer:mood")
        keys.press("Space")
        keys.press("ArrowDown")
        tab_to(page, "answer:rating")
        keys.press("Space")
        for _ in range(7):
            keys.press("ArrowRight")
        tab_to(page, "answer:topics")
        keys.press("Space")
        keys.press("Tab")
        keys.press("Space")
        tab_to(page, "answer:age")
        keys.type("41")
        tab_to(page, "answer:why")
        keys.type("Gostei")
        expect(page.locator("#count")).to_have_text("5 de 5 respondidas")
        tab_to(page, "name")
        keys.type(f"Ana {scheme}")
        tab_to(page, "phone")
        keys.type("47 98921-1984")
        tab_to(page, "consent")
        keys.press("Space")
        tab_to(page, "BUTTON")
        keys.press("Enter")
        expect(page.locator("#thanks")).to_be_focused()
        expect(page.locator("#thanks h2")).to_have_text("Respostas enviadas")
        expect(page.locator("form")).to_be_hidden()
    (stored,) = sent_by(site, f"Ana {scheme}")
    assert stored.answers == {"mood": "bad", "rating": 7, "topics": ["a", "b"], "age": 41, "why": "Gostei"}
    assert stored.personal.phone == "+5547989211984"
    assert stored.consent is not None
    assert (stored.consent.granted, stored.consent.text) == (True, "quiz-page pt-BR 1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["feedback", "bfi", "iqitems", "feedback/thanks", "none"])
def test_axe_finds_nothing_serious(site: Pages, chromium: Browser, scheme: str, path: str) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(address(site, path))
    if "/" not in path and path != "none":
        page.locator("label:has(input[type=radio])").nth(1).click()
    assert serious_problems(page) == []
    context.close()


def test_a_missing_required_answer_is_not_sent(site: Pages, chromium: Browser) -> None:
    with phone(chromium) as page:
        page.goto(address(site))
        page.locator("#name").fill("Bia")
        page.locator("button").click()
        assert focused(page)["name"] == "answer:mood"
    assert sent_by(site, "Bia") == []


def test_a_rejected_phone_is_marked_and_corrected(site: Pages, chromium: Browser) -> None:
    context = chromium.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    page.goto(address(site))
    page.locator("label:has(input[value=good])").click()
    page.locator("#name").fill("Caio")
    page.locator("#phone").fill("12")
    page.locator("button").click()
    expect(page.locator("#phone")).to_be_focused()
    expect(page.locator("#phone")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#status")).to_contain_text("Um dado não foi aceito")
    page.locator("#phone").fill("+55 47 98921-1984")
    page.locator("button").click()
    expect(page.locator("#thanks")).to_be_visible()
    context.close()
    assert len(sent_by(site, "Caio")) == 1


def test_an_answer_that_got_lost_is_sent_again_as_the_same_completion(site: Pages, chromium: Browser) -> None:
    """The first request reaches the edge, and its answer never arrives."""
    context = chromium.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    requests: list[str] = []

    def lose(route: Route) -> None:
        requests.append(key_of(route.request))
        if len(requests) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/completions", lose)
    page.goto(address(site))
    page.locator("label:has(input[value=good])").click()
    page.locator("#name").fill("Davi")
    page.locator("button").click()
    expect(page.locator("#thanks")).to_be_visible(timeout=60_000)
    context.close()
    assert len(requests) == 2
    assert len(set(requests)) == 1
    assert len({one.completion_id for one in sent_by(site, "Davi")}) == 1


def test_another_script_may_send_instead(site: Pages, chromium: Browser) -> None:
    with phone(chromium) as page:
        page.add_init_script(
            "window.sent = []; window.quizstream = {send: async (url, body, key) => {"
            " window.sent.push({url, body, key}); return {status: 202}; }};"
        )
        page.goto(address(site))
        page.locator("label:has(input[value=good])").click()
        page.locator("button").click()
        expect(page.locator("#thanks")).to_be_visible()
        (sent,) = page.evaluate("window.sent")
    assert sent["url"] == "/quiz/feedback/completions"
    assert sent["body"] == {"answers": {"mood": "good"}}
    assert len(sent["key"]) == 32


def test_a_page_without_a_script_sends_its_form(site: Pages, chromium: Browser) -> None:
    with phone(chromium, javascript=False) as page:
        page.goto(address(site))
        expect(page.locator("#progress")).to_be_hidden()
        page.locator("label:has(input[value=good])").click()
        page.locator("#name").fill("Eva")
        page.locator("button").click()
        expect(page.locator("h1")).to_have_text("Respostas enviadas")
        assert page.url == address(site, "feedback/thanks")
    (stored,) = sent_by(site, "Eva")
    assert stored.answers == {"mood": "good"}


def test_a_closed_quiz_has_no_form(site: Pages, chromium: Browser) -> None:
    site.save(msgspec.structs.replace(QUIZ, quiz_id="over", open=False))
    wait_until(lambda: site.get("/quiz/over").status == 200, "the edge to have the quiz")
    with phone(chromium) as page:
        page.goto(address(site, "over"))
        expect(page.locator("h2")).to_have_text("Este questionário está encerrado")
        expect(page.locator("form")).to_have_count(0)


def test_a_picture_of_the_page(site: Pages, chromium: Browser, tmp_path: Path) -> None:
    """Light and dark side by side: `QUIZSTREAM_WRITE_PICTURE=1` writes docs/quiz-page.png."""
    shots = []
    for scheme in ("light", "dark"):
        with phone(chromium, scheme) as page:
            page.goto(address(site, "bfi"))
            for number, step in enumerate((4, 5, 2)):
                page.locator(".scale").nth(number).locator("label").nth(step).click()
            page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            page.mouse.move(0, 0)
            shots.append(page.screenshot(path=tmp_path / f"{scheme}.png"))
    assert all(shot.startswith(b"\x89PNG") for shot in shots)
    if os.environ.get(WRITE_PICTURE):
        with phone(chromium, scale=1.5) as page:
            page.set_viewport_size({"width": 800, "height": 788})
            page.goto(f"file://{tmp_path}")
            page.set_content(
                "<body style='margin:0;padding:24px;display:flex;gap:32px;background:#c9ced8'>"
                + "".join(
                    f"<img src='file://{tmp_path}/{scheme}.png' width=360 style='border-radius:24px'>"
                    for scheme in ("light", "dark")
                )
            )
            page.wait_for_function("[...document.images].every(one => one.complete && one.naturalWidth)")
            page.screenshot(path=PICTURE)
    assert PICTURE.stat().st_size < 300_000
