"""One Chromium for the run, one sidecar for each file, and a page of its own for each test.

Whatever a test does, its page must stay clean: no error on the console, nothing the policy refused, no request to
another host. That is checked when the page closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from tests.browser.chromium import FLAGS, MISSING, find_chromium, must_run
from tests.fakes.laboratory import Laboratory, laboratory

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)

OpenPage: TypeAlias = Callable[..., Coroutine[Any, Any, Page]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = find_chromium()
    if chromium is None:
        pytest.fail(MISSING) if must_run() else pytest.skip(MISSING)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Laboratory]:
    async with laboratory(tmp_path_factory.mktemp("browser"), settings={"max_streams": 32}) as lab:
        yield lab


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser, lab: Laboratory) -> AsyncIterator[OpenPage]:
    """`await open_page(width=1280, scheme="light")`: the dashboard, opened by its one-time link."""
    lab.reset()
    found: list[str] = []
    contexts = []

    async def opened(width: int = 1280, scheme: Any = "light", **options: Any) -> Page:
        context = await browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, timezone_id="Europe/Berlin", **options
        )
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda m: found.append(f"{m.type}: {m.text}") if is_fault(m) else None)
        page.on("pageerror", lambda error: found.append(f"page error: {error}"))
        page.on("request", lambda r: None if r.url.startswith((lab.sidecar.url, "data:")) else found.append(r.url))
        link = (await lab.http.post("/api/v1/dashboard/link", json={})).json()["path"]
        await page.goto(lab.sidecar.url + link)
        return page

    yield opened
    for context in contexts:
        await context.close()
    assert found == []


def is_fault(message: ConsoleMessage) -> bool:
    """A refusal of the API is news for the person, which the browser also notes; all else is a fault of the page."""
    refused = message.text.startswith("Failed to load resource") and "/api/v1/" in message.location["url"]
    return message.type in ("error", "warning") and not refused


async def keep(page: Page, name: str) -> None:
    """The page as a picture, for people to look at."""
    await asyncio.to_thread(SCREENSHOTS.mkdir, parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


__all__ = ["OpenPage", "browser", "keep", "lab", "open_page"]
