"""The explainer and the chat box, as a person uses them."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenPage, keep
from tests.fakes.laboratory import Laboratory
from tests.fakes.providers import Reply, Status

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


async def test_the_explainer_shows_every_verdict(lab: Laboratory, open_page: OpenPage) -> None:
    page = await open_page()
    form = page.locator("#explain-form")
    await form.locator('[name="query"]').fill("why is the wait 2 s?")
    await form.locator('[name="task_type"]').fill("away")
    await form.locator('[name="workspace"]').select_option("shy")
    await form.get_by_role("button", name="Explain").click()
    result = page.locator("#explain-result")
    await expect(result.locator("tr.matched")).to_contain_text("away")
    verdicts = result.locator("table", has_text="decides").locator("tbody tr")
    assert await verdicts.count() == len((await lab.http.get("/api/v1/rules")).json()["rules"])
    # The workspace is private: the rule's model was ruled out, the local one stands in.
    await expect(result).to_contain_text("Nothing of it may leave your machines")
    await expect(result.locator("table", has_text="openai/priced").last).to_contain_text("policy")
    await keep(page, "explain-1280-light")
    await form.locator('[name="task_type"]').fill("unruled")
    await form.get_by_role("button", name="Explain").click()
    await expect(result).to_contain_text("no_rule")
    assert lab.provider.chats == []


async def test_the_explainer_reads_metadata(lab: Laboratory, open_page: OpenPage) -> None:
    page = await open_page()
    form = page.locator("#explain-form")
    await form.locator('[name="query"]').fill("hello")
    await form.locator('[name="metadata"]').fill("tier=gold, score=3")
    await form.get_by_role("button", name="Explain").click()
    await expect(page.locator("#explain-result tr.matched")).to_contain_text("tuned")


async def test_the_chat_streams_and_shows_what_the_model_saw(lab: Laboratory, open_page: OpenPage) -> None:
    page = await open_page()
    form = page.locator("#chat-form")
    lab.provider.script(Reply(text=("First ", HOSTILE, " last"), delay=0.4), model="small")
    # Every state the answer was seen in, however slowly this test looks.
    await page.evaluate(
        "window.states = []; new MutationObserver(() => window.states.push(["
        "document.querySelector('#chat-log .turn:last-child .said')?.textContent,"
        "document.querySelector('#chat-log').getAttribute('aria-busy')])).observe("
        "document.querySelector('#chat-log'), {subtree: true, childList: true})"
    )
    await form.locator('[name="query"]').fill("say it slowly")
    await form.locator('[name="query"]').press("Enter")
    answer = page.locator("#chat-log .turn").last
    await expect(answer.locator(".said")).to_have_text(f"First {HOSTILE} last")
    await expect(page.locator("#chat-log")).to_have_attribute("aria-busy", "false")
    assert ["First ", "true"] in await page.evaluate("window.states")  # before the rest had come
    await expect(answer.locator(".receipt")).to_contain_text("tokens in")
    await answer.locator("summary").click()
    await expect(answer.locator(".receipt table")).to_contain_text("kept")
    assert await page.title() == "llm-sidecar"
    assert await answer.locator("img, script").count() == 0
    await keep(page, "chat-1280-light")
    # The second question brings the first one and its answer along; another workspace does not.
    lab.provider.forget()
    await form.locator('[name="query"]').fill("and again")
    await form.get_by_role("button", name="Send").click()
    await expect(page.locator("#chat-log .turn")).to_have_count(4)
    await expect(page.locator("#chat-log")).to_have_attribute("aria-busy", "false")
    assert "say it slowly" in str(lab.sent["messages"])
    await form.locator('[name="workspace"]').select_option("work")
    await form.locator('[name="query"]').fill("third")
    await form.get_by_role("button", name="Send").click()
    await expect(page.locator("#chat-log .turn")).to_have_count(2)
    await expect(page.locator("#chat-log")).to_have_attribute("aria-busy", "false")
    assert "say it slowly" not in str(lab.sent["messages"])


async def test_a_failure_is_said_and_its_receipt_opens(lab: Laboratory, open_page: OpenPage) -> None:
    lab.provider.always(Status(400, message=HOSTILE), model="broken")
    page = await open_page()
    form = page.locator("#chat-form")
    await form.locator('[name="task_type"]').fill("broken")
    await form.locator('[name="query"]').fill("go")
    await form.get_by_role("button", name="Send").click()
    await expect(page.locator("#chat-log [role=alert]")).to_contain_text("all_candidates_failed")
    # The row arrives by itself, and opens with the keyboard.
    row = page.locator("#request-list tbody tr", has_text="broken").first
    await expect(row).to_contain_text("failed")
    await row.locator("button").focus()
    await page.keyboard.press("Enter")
    drawer = page.locator("#drawer")
    await expect(drawer).to_contain_text("Attempts")
    await expect(drawer).to_contain_text("ollama/broken")
    await keep(page, "receipt-1280-light")
    await page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()
    await expect(row.locator("button")).to_be_focused()
    assert await page.title() == "llm-sidecar"


async def test_stopping_ends_the_answer_at_the_model(lab: Laboratory, open_page: OpenPage) -> None:
    lab.provider.script(Reply(text=("a ",) * 200, delay=0.1), model="small")
    page = await open_page()
    form = page.locator("#chat-form")
    await form.locator('[name="query"]').fill("forever")
    await form.get_by_role("button", name="Send").click()
    await expect(page.locator("#chat-log .said").last).to_contain_text("a a")
    await form.get_by_role("button", name="Stop").click()
    await expect(page.locator("#chat-log")).to_contain_text("Stopped.")
    left = await lab.provider.client_left(within=5)
    assert left.client_closed_at is not None
