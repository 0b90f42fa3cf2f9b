"""The dashboard in a real browser: what was spent, drawn from real rows."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage, keep
from tests.fakes.laboratory import Laboratory
from tests.fakes.providers import Reply

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_one_time_link_leads_to_a_chart_of_real_rows(lab: Laboratory, open_page: OpenPage) -> None:
    lab.provider.script(Reply(input_tokens=400_000, output_tokens=20_000), model="priced")  # 0.8 + 0.2 dollars
    await lab.whole(query="what does it cost?", model="openai/priced", task_type="debugging")
    page = await open_page()
    await page.wait_for_selector("#spend-chart .chart[data-drawn]")
    assert page.url == f"{lab.sidecar.url}/"
    await expect(page.locator("#tiles")).to_contain_text("$1.00")
    # As many bars as the table beside the chart has cells with a cost.
    table = page.locator("#spend-chart table")
    headings = await table.locator("th").all_text_contents()
    last = await table.locator("tbody tr").last.locator("td").all_text_contents()
    assert last[headings.index("openai/priced")] == "$1.00"
    assert await page.locator("#spend-chart .bars path").count() == 7 * (len(headings) - 2)
    await expect(page.locator("#patterns")).to_contain_text("debugging")
    await keep(page, "spend-1280-light")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (400, "light"), (400, "dark")])
async def test_every_width_and_scheme_holds_the_page(
    lab: Laboratory, open_page: OpenPage, width: int, scheme: str
) -> None:
    await lab.whole(query="hello")
    page = await open_page(width=width, scheme=scheme)
    await page.wait_for_selector("#spend-chart .chart[data-drawn]")
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    await keep(page, f"spend-{width}-{scheme}")
