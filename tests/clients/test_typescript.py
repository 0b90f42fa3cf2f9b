"""The TypeScript client under Node against a whole sidecar.

Each test of `clients/typescript/test/live.mjs`, with its models scripted here.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.agents.notifications import News
from app.api.resumable import KeepLimits
from tests.clients import npm
from tests.fakes.laboratory import Laboratory, eventually
from tests.fakes.providers import CutMidStream, FakeProvider, Reply, ToolCall
from tests.fakes.sidecar import TOKEN, running_sidecar

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

WORDS = tuple(f"w{number} " for number in range(40))
ENDLESS = Reply(WORDS * 100, delay=0.02)
UNICODE = (
    "Gr\u00fc\u00dfe \u6f22",
    "\u5b57 \U0001f469\u200d\U0001f469\u200d\U0001f467 \u2028 \r\n\r",
    "\n data: x\n\nid: 9",
)


async def live(folder: Path, url: str, name: str) -> None:
    """Run the test of that name; it must have been there, and passed."""
    process = await asyncio.create_subprocess_exec(
        *(npm.find("node"), "--test-reporter=tap", f"--test-name-pattern=/^{name}$/", "test/live.mjs"),
        cwd=folder,
        env={**os.environ, "BASE_URL": url, "TOKEN": TOKEN},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert re.search(rf"^ok \d+ - {name}$", said.decode(), re.MULTILINE), said.decode()


READY = [
    *("chat", "text and whole", "errors", "sessions", "everything else"),
    *("runs", "search", "happenings", "happenings go on after a cut"),
]


@pytest.mark.parametrize("name", READY)
async def test_against_ready_models(lab: Laboratory, built: Path, name: str) -> None:
    await live(built, lab.sidecar.url, name)


async def test_unicode(lab: Laboratory, built: Path) -> None:
    lab.provider.script(Reply(UNICODE))
    await live(built, lab.sidecar.url, "unicode")
    assert "".join(UNICODE) in lab.sent["messages"][-1]["content"]


async def test_tools_and_structured_output(lab: Laboratory, built: Path) -> None:
    called = Reply(text=(), tool_calls=(ToolCall("weather", '{"city": "Oslo"}'),))
    lab.provider.script(called, Reply(text=("It rains.",)))
    await live(built, lab.sidecar.url, "tool calls")
    lab.provider.script(Reply(text=('{"day": 3}',)))
    await live(built, lab.sidecar.url, "structured output")


@pytest.mark.parametrize("name", ["an answer that breaks", "an answer that breaks, as text"])
async def test_an_answer_that_breaks(lab: Laboratory, built: Path, name: str) -> None:
    lab.provider.script(CutMidStream(after=2), model="torn")
    await live(built, lab.sidecar.url, name)


@pytest.mark.parametrize(
    "name",
    [
        "breaking out of the loop",
        "breaking out of a resumable one",
        "aborting",
        "aborting a resumable one",
        "stopping from outside",
    ],
)
async def test_whoever_leaves_stops_the_model(lab: Laboratory, built: Path, name: str) -> None:
    lab.provider.script(ENDLESS, model="coder")
    await live(built, lab.sidecar.url, name)
    await lab.provider.client_left(within=5)
    await eventually(lambda: lab.sidecar.rows()[-1]["status"] == "cancelled")


async def test_leaving_before_the_first_event(lab: Laboratory, built: Path) -> None:
    lab.provider.script(ENDLESS, model="coder")
    await live(built, lab.sidecar.url, "aborting a resumable one before it has said anything")
    # It may never have reached a model; what has is closed.
    await eventually(lambda: len(lab.provider.closed) == len(lab.asked), within=5)


async def test_going_on_after_a_cut(lab: Laboratory, built: Path) -> None:
    lab.provider.script(Reply(WORDS, delay=0.01), model="coder")
    await live(built, lab.sidecar.url, "going on after a cut")
    assert len(lab.asked) == 1
    await eventually(lambda: lab.sidecar.rows()[-1]["status"] == "ok")


async def test_a_cut_is_told_where_nothing_can_go_on(lab: Laboratory, built: Path) -> None:
    lab.provider.script(ENDLESS, model="coder")
    await live(built, lab.sidecar.url, "a cut without resumable")
    await lab.provider.client_left(within=5)


async def test_going_on_after_a_reload(lab: Laboratory, built: Path) -> None:
    lab.provider.script(Reply(WORDS, delay=0.01), model="coder")
    await live(built, lab.sidecar.url, "going on after a reload")
    assert len(lab.asked) == 1


async def test_two_at_once(lab: Laboratory, built: Path) -> None:
    lab.provider.script(Reply(WORDS, delay=0.005), model="coder")
    lab.provider.script(Reply(("other",)), model="small")
    await live(built, lab.sidecar.url, "two at once")


async def test_notifications(lab: Laboratory, built: Path) -> None:
    for number in range(2):
        await lab.sidecar.services.inbox.post(News("open", "test", f"news {number}"))
    await live(built, lab.sidecar.url, "notifications")


async def test_a_feed_goes_on_after_a_cut(lab: Laboratory, built: Path) -> None:
    going = asyncio.create_task(live(built, lab.sidecar.url, "a feed goes on after a cut"))
    while b"sidecar_open_pages 0" in (await lab.http.get("/metrics")).content and not going.done():  # noqa: ASYNC110 (asked over HTTP)
        await asyncio.sleep(0.02)
    for number in range(4):
        await lab.sidecar.services.inbox.post(News("open", "test", f"live {number}"))
    await going


@pytest_asyncio.fixture(loop_scope="module")
async def forgetful(tmp_path: Path) -> AsyncIterator[str]:
    """A sidecar that keeps 400 bytes of an answer."""
    async with (
        FakeProvider() as provider,
        running_sidecar(
            tmp_path,
            keep=KeepLimits(answer_bytes=400),
            models=[{"id": "ollama/coder", "api_base": provider.url, "context_window": 8192}],
            rules=[{"name": "all", "conditions": {}, "model": "ollama/coder"}],
        ) as sidecar,
    ):
        provider.script(Reply(WORDS))
        yield sidecar.url


async def test_what_is_gone_is_said(forgetful: str, built: Path) -> None:
    await live(built, forgetful, "what is gone is said")
