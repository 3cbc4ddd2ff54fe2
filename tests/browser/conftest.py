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
