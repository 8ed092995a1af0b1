"""A browser for tests: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, sync_playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SERIOUS = ("serious", "critical")


def require_chromium() -> str:
    """Its path. Skips on a laptop without it, and fails in CI."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        said = "chromium is not installed (Debian: apt install chromium): no page is opened"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """Closed at the end. Its sandbox needs rights that containers do not have."""
    path = require_chromium()
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield one
        finally:
            one.close()


@contextmanager
def phone(
    one: Browser, scheme: str = "light", *, javascript: bool = True, scale: float = 2
) -> Iterator[Page]:
    """A page on a phone; whatever the page reports as an error fails the test."""
    context = one.new_context(
        viewport={"width": 360, "height": 740},
        device_scale_factor=scale,
        color_scheme="dark" if scheme == "dark" else "light",
        locale="pt-BR",
        java_script_enabled=javascript,
    )
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    try:
        yield page
    finally:
        context.close()
    assert errors == [], errors


def serious_problems(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical, by its WCAG rules and best practices."""
    return [
        f"{found['id']}: {found['help']} ({len(found['nodes'])} places)"
        for found in Axe().run(page).response["violations"]
        if found["impact"] in SERIOUS
    ]


def key_of(request: Request) -> str:
    """The idempotency key of a completion that a page sends."""
    body = request.post_data_json
    assert body is not None
    return str(body["completion_id"])
