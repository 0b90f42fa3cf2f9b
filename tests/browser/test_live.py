"""What happens while the page is open; the keyboard; names that would like to be markup."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from playwright.async_api import Page, expect

from app.usage.records import AttemptEnd, AttemptStart, CostSource, Status
from tests.browser.conftest import OpenPage, keep
from tests.fakes.laboratory import Laboratory, eventually
from tests.fakes.providers import Reply

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><a href='https://evil.example'>x</a>"
LIMIT_USD = 3000.0


@asynccontextmanager
async def budgets(lab: Laboratory, *entries: dict[str, Any]) -> AsyncIterator[None]:
    """These budgets for `open`, read anew by the running sidecar; gone again afterwards."""
    path = lab.sidecar.config_dir / "profiles.yaml"
    before = path.read_text("utf-8")
    changed = yaml.safe_load(before)
    changed["profiles"][0]["budgets"] = list(entries)

    def in_force() -> int:
        return len(lab.sidecar.services.config.current.profiles.profiles[0].budgets)

    path.write_text(yaml.safe_dump(changed), "utf-8")
    await eventually(lambda: in_force() == len(entries), within=15)
    try:
        yield
    finally:
        path.write_text(before, "utf-8")
        await eventually(lambda: in_force() == 0, within=15)


async def test_a_budget_alert_arrives_while_one_looks(lab: Laboratory, open_page: OpenPage) -> None:
    page = await open_page()
    await expect(page.locator("#live")).to_contain_text("live")
    await expect(page.locator("#budget-list")).to_contain_text("No budget is set")
    entry = {"period": "day", "limit_usd": LIMIT_USD, "alert_at": [0.5, 1.0], "on_limit": "alert"}
    async with budgets(lab, entry):
        # The configuration was read anew, and the page with it.
        await expect(page.locator("#budget-list")).to_contain_text("$3,000 a day")
        # 800 million tokens at 2 dollars a million: more than half of it.
        lab.provider.script(Reply(input_tokens=800_000_000, output_tokens=10), model="priced")
        await lab.whole(query="spend", model="openai/priced", workspace="open")
        await expect(page.locator("#toasts")).to_contain_text("50%")
        await expect(page.locator("#budget-list")).to_contain_text("$1,6")
        await keep(page, "budget-1280-light")
        await page.locator("#toasts").get_by_role("button", name="Dismiss").first.click()
        await expect(page.locator("#toasts .toast")).to_have_count(0)
        # It waits in the inbox until it is read.
        await expect(page.locator("#unread")).to_contain_text("1")
        await page.locator("#inbox").get_by_role("button", name="Mark as read").click()
        await expect(page.locator("#inbox .unread")).to_have_count(0)
        await expect(page.locator("#unread")).to_be_hidden()


async def test_a_new_row_arrives_without_reloading(lab: Laboratory, open_page: OpenPage) -> None:
    page = await open_page()
    await expect(page.locator("#live")).to_contain_text("live")
    await lab.whole(query="hello", task_type="brand_new")
    await expect(page.locator("#request-list tbody tr").first).to_contain_text("brand_new")


async def settle(lab: Laboratory, model: str) -> None:
    """A row whose every text is somebody else's."""
    ledger, now, name = lab.sidecar.services.ledger, datetime.now(UTC), uuid.uuid4().hex
    start = AttemptStart(name, name, 1, "open", None, None, "chat", model, "openai", model, "cloud", now)
    ledger.begin(start)
    end = AttemptEnd(Status.ERROR, now, 20, 5, 0, 0, 5, 0, 10**10, CostSource.COMPUTED, 10, "bad_request", HOSTILE)
    await ledger.settle(name, end)


async def test_names_and_errors_stay_text(lab: Laboratory, open_page: OpenPage) -> None:
    await settle(lab, HOSTILE)
    await lab.whole(query="hello")
    page = await open_page()
    await page.wait_for_selector("#spend-chart .chart[data-drawn]")
    await expect(page.locator("#patterns")).to_contain_text("onerror")
    # The costliest is drawn first; its seventh bar is today's.
    await page.locator("#spend-chart .bars path").nth(6).hover(force=True)
    await expect(page.locator("#spend-chart .hoverlayer .hovertext")).to_contain_text("onerror")
    await page.locator("#latency-chart .bars path").first.hover(force=True)
    await expect(page.locator("#latency-chart .hoverlayer .hovertext").first).to_contain_text("within")
    await page.locator("#request-list tbody tr", has_text="onerror").first.locator("button").click()
    await expect(page.locator("#drawer")).to_contain_text("onerror")
    assert await page.locator("main img, main a[href*=evil], #drawer img").count() == 0
    assert await page.title() == "llm-sidecar"


async def focused(page: Page) -> str:
    found: str = await page.evaluate(
        "(() => { const e = document.activeElement; return e.getAttribute('aria-label') || e.name || e.id ||"
        " e.textContent.trim().slice(0, 40); })()"
    )
    return found


async def test_the_keyboard_reaches_everything(lab: Laboratory, open_page: OpenPage) -> None:
    await lab.whole(query="hello")
    page = await open_page()
    await page.wait_for_selector("#request-list button")
    await page.keyboard.press("Tab")
    assert await focused(page) == "Skip to the content"
    await page.keyboard.press("Enter")
    seen = []
    for _ in range(200):
        await page.keyboard.press("Tab")
        seen.append(await focused(page))
        if seen[-1] == "sign-out":
            break
    for expected in ("period", "workspace", "tz", "metric", "dimension", "contains_code", "sign-out"):
        assert expected in seen, expected
    assert any(name.startswith("Receipt of the request") for name in seen)
    assert "Show as a table" in seen
    # What a screen reader hears: every control has a name, every section a heading, every image a text.
    nameless = await page.evaluate(
        "[...document.querySelectorAll('button, select, input, textarea')].filter(e =>"
        " !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).map(e => e.outerHTML)"
    )
    assert nameless == []
    assert await page.evaluate("[...document.querySelectorAll('[role=img]')].every(e => e.getAttribute('aria-label'))")
    sections = page.locator("main > section")
    assert await sections.count() == await page.locator("main > section[aria-labelledby] > h2, main h2[id]").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out_from_its_ground(open_page: OpenPage, scheme: str) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for the colours that carry text."""
    page = await open_page(scheme=scheme)
    ratios = await page.evaluate(
        """() => {
          const style = getComputedStyle(document.documentElement);
          const luminance = (name) => {
            const hex = style.getPropertyValue(name).trim().slice(1);
            const [r, g, b] = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
              .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const pairs = [['--text', '--page'], ['--muted', '--page'], ['--muted', '--surface'], ['--muted', '--sunken'],
            ['--accent', '--surface'], ['--accent', '--accent-soft'], ['--on-accent', '--accent'],
            ['--bad', '--bad-soft'], ['--warn', '--warn-soft'], ['--good', '--surface']];
          return Object.fromEntries(pairs.map(([front, ground]) => {
            const [light, dark] = [luminance(front), luminance(ground)].sort((a, b) => b - a);
            return [`${front} on ${ground}`, (light + 0.05) / (dark + 0.05)];
          }));
        }"""
    )
    assert {pair: round(ratio, 2) for pair, ratio in ratios.items() if ratio < 4.5} == {}


async def test_the_receipt_says_what_the_model_saw(lab: Laboratory, open_page: OpenPage) -> None:
    answer = await lab.whole(query="what did it see?", task_type="seen")
    page = await open_page()
    row = page.locator("#request-list tbody tr", has_text="seen").first
    await row.locator("button").click()
    drawer = page.locator("#drawer")
    await expect(drawer).to_contain_text(answer["request_id"])
    await expect(drawer).to_contain_text("What the model saw")
    await drawer.get_by_role("button", name="Good answer").click()
    await expect(drawer).to_contain_text("Noted.")
    await keep(page, "receipt-whole-1280-light")
    detail = (await lab.http.get(f"/api/v1/requests/{answer['request_id']}")).json()
    assert detail["feedback"]["score"] == 5
