"""Chromium, where it is installed: pages are opened as a user opens them, by ``file://``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, sync_playwright

ARGUMENTS = (
    "--no-sandbox",  # a container has no user namespaces, and the pages are ours
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
)

READABLE = 4.5
"""Contrast of text of normal size, WCAG 2.2, success criterion 1.4.3."""

CONTRASTS = """elements => elements.filter(element => element.textContent.trim()).map(element => {
  const parsed = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let ground = element;
  const isClear = e => (parsed(getComputedStyle(e).backgroundColor)[3] ?? 1) === 0;
  while (ground.parentElement && isClear(ground)) ground = ground.parentElement;
  const pair = [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor]
    .map(colour => light(parsed(colour))).sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
})"""
"""Of the text of elements to what it stands on."""


def chromium() -> str | None:
    """Path of the browser."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests; `test_a_browser_is_here` fails where tests skip for want of it."""
    path = chromium()
    if path is None:
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a file in a window of a width; at the end no script may have failed or said a word."""
    complaints: list[str] = []
    pages: list[Page] = []

    def heard(message: ConsoleMessage) -> None:
        complaints.append(message.text)

    def failed(error: Error) -> None:
        complaints.append(str(error))

    def open_file(path: str, *, width: int = 1280, scheme: str = "light") -> Page:
        page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        page.on("console", heard)
        page.on("pageerror", failed)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"file://{path}")
        pages.append(page)
        return page

    requests: list[str] = []
    yield open_file
    for page in pages:
        page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("file://")] == []


@pytest.fixture
def assert_readable() -> Callable[..., None]:
    """Check the contrast of the text of all elements that a selector finds."""

    def check(page: Page, selector: str, *, at_least: int) -> None:
        contrasts = page.locator(selector).evaluate_all(CONTRASTS)
        assert len(contrasts) > at_least
        assert min(contrasts) >= READABLE

    return check
