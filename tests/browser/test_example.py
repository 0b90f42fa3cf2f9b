"""The TypeScript client's example page in a browser, from an origin of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS, is_fault, keep
from tests.clients import npm
from tests.fakes.laboratory import Laboratory, eventually, laboratory
from tests.fakes.providers import Reply
from tests.fakes.sidecar import TOKEN

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

WORDS = tuple(f"w{number} " for number in range(60))
TEXT = "".join(WORDS)


@dataclass(frozen=True)
class Served:
    lab: Laboratory
    address: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return npm.built_client(npm.shared_folder(tmp_path_factory))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(built: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """The example on a port of its own, and a sidecar that lets this one origin in."""
    app = web.Application()
    app.add_routes([web.static("/", built)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    settings = {"max_streams": 16, "allowed_origins": origin}
    async with laboratory(tmp_path_factory.mktemp("example"), settings=settings) as lab:
        yield Served(lab, f"{origin}/example/index.html")
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, served: Served) -> AsyncIterator[Page]:
    served.lab.reset()
    found: list[str] = []
    scheme: Any = "light"
    context = await browser.new_context(viewport={"width": 900, "height": 800}, color_scheme=scheme)
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda m: found.append(f"{m.type}: {m.text}") if is_fault(m) else None)
    page.on("pageerror", lambda error: found.append(f"page error: {error}"))
    await page.goto(served.address)
    await page.get_by_label("Address").fill(served.lab.sidecar.url)
    await page.get_by_label("Token").fill(TOKEN)
    yield page
    await context.close()
    assert found == []


async def ask(page: Page, query: str) -> None:
    await page.get_by_label("Question").fill(query)
    await page.get_by_role("button", name="Ask").click()


async def test_it_streams_and_shows_what_the_model_saw(served: Served, page: Page) -> None:
    hostile = "<img src=x onerror=alert(1)> Grüße 漢字"
    served.lab.provider.script(Reply(("First ", hostile)))
    await ask(page, "say it")
    await expect(page.locator("#answer")).to_have_text(f"First {hostile}")
    await expect(page.get_by_role("status")).to_contain_text("tokens in")
    await expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    await page.locator("summary").click()
    await expect(page.locator("tbody")).to_contain_text("kept")
    await keep(page, "example-900-light")
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 390, "height": 800})
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await keep(page, "example-390-dark")


async def test_it_goes_on_after_a_reload(served: Served, page: Page) -> None:
    served.lab.provider.script(Reply(WORDS, delay=0.05))
    await ask(page, "count")
    await expect(page.locator("#answer")).to_contain_text("w3 ")
    await page.reload()
    await expect(page.locator("#answer")).to_contain_text("w0 w1 w2 w3")
    await expect(page.get_by_role("status")).to_contain_text("tokens in")
    assert await page.locator("#answer").text_content() == TEXT
    assert len(served.lab.asked) == 1
    # What has ended is shown again, and nobody is asked.
    await page.reload()
    await expect(page.get_by_role("status")).to_contain_text("tokens in")
    assert await page.locator("#answer").text_content() == TEXT


async def test_its_stop_button_stops_the_model(served: Served, page: Page) -> None:
    served.lab.provider.script(Reply(WORDS * 100, delay=0.02))
    await ask(page, "count for long")
    await expect(page.locator("#answer")).to_contain_text("w1 ")
    await page.get_by_role("button", name="Stop").press("Enter")
    await expect(page.get_by_role("status")).to_have_text("Stopped.")
    await served.lab.provider.client_left(within=5)
    await eventually(lambda: served.lab.sidecar.rows()[-1]["status"] == "cancelled", within=5)


async def test_what_goes_wrong_is_said(served: Served, page: Page) -> None:
    await page.get_by_label("Token").fill("wrong")
    await ask(page, "hello")
    await expect(page.get_by_role("alert")).to_contain_text("token")
    await expect(page.get_by_role("button", name="Ask")).to_be_enabled()
