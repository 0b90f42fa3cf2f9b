"""`/api/v1/events`: what happens is told to who watches, and to nobody at another's cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from app.api.deps import MOST_PAGES
from app.api.sse import Patience
from app.services.happenings import CAPACITY, MISSED, Happenings
from tests.fakes.laboratory import eventually, laboratory

WITHIN = 50.0
"""Seconds; the start of the sidecar is in it, which other tests may slow down."""


@asynccontextmanager
async def watching(http: httpx.AsyncClient) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    async with http.stream("GET", "/api/v1/events") as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield _events(response)


async def _events(response: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def test_what_settles_is_told_until_the_reader_leaves(tmp_path: Path) -> None:
    async with laboratory(tmp_path) as lab, asyncio.timeout(WITHIN):
        happenings = lab.sidecar.services.happenings
        async with watching(lab.http) as events:
            name, data = await anext(events)
            assert (name, data) == ("hello", {"instance_id": lab.sidecar.services.instance_id})
            answer = await lab.whole(query="hello", model="openai/priced")
            name, data = await anext(events)
            assert name == "settled"
            assert data == {
                "request_id": answer["request_id"],
                "attempt": 1,
                "last": True,
                "workspace": "open",
                "model": "openai/priced",
                "status": "ok",
                "cost_usd": answer["cost_usd"],
            }
        await eventually(lambda: len(happenings) == 0)


async def test_silence_is_filled_and_shutting_down_ends_it(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(WITHIN),
        laboratory(tmp_path, patience=Patience(silence=0.05)) as lab,
        lab.http.stream("GET", "/api/v1/events") as response,
    ):
        lines = response.aiter_lines()
        while not (await anext(lines)).startswith(": "):
            pass
        lab.sidecar.services.shutting_down.set()
        async for _ in lines:
            pass


async def test_pages_are_counted_apart_from_answers(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(WITHIN),
        laboratory(tmp_path, settings={"max_streams": 1}) as lab,
        watching(lab.http) as first,
        watching(lab.http) as second,
    ):
        await anext(first)
        await anext(second)
        await lab.whole(query="an answer all the same")


async def test_a_watcher_who_falls_behind_is_told_to_read_anew() -> None:
    happenings = Happenings()
    with happenings.watch() as slow, happenings.watch() as quick:
        batches = quick.batches()
        for number in range(CAPACITY + 3):
            happenings.publish("settled", {"number": number})
            assert [h.data["number"] for h in await anext(batches)] == [number]
        waiting = await anext(slow.batches())
    assert waiting[0] == MISSED
    assert [h.data["number"] for h in waiting[1:]] == [CAPACITY + 1, CAPACITY + 2]
    happenings.publish("settled", {})
    assert len(happenings) == 0


async def test_it_needs_the_token(tmp_path: Path) -> None:
    async with laboratory(tmp_path) as lab, httpx.AsyncClient(base_url=lab.sidecar.url, trust_env=False) as stranger:
        assert (await stranger.get("/api/v1/events")).status_code == 401


async def test_one_page_too_many_is_turned_away_until_another_leaves(tmp_path: Path) -> None:
    async with laboratory(tmp_path) as lab, asyncio.timeout(WITHIN), AsyncExitStack() as pages:
        # Kept: a reader that nobody holds is closed with its connection.
        readers = [await pages.enter_async_context(watching(lab.http)) for _ in range(MOST_PAGES)]
        assert [(await anext(events))[0] for events in readers] == ["hello"] * MOST_PAGES
        for path in ("events", "notifications/events"):
            refused = await lab.http.get(f"/api/v1/{path}")
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
            assert int(refused.headers["retry-after"]) >= 1
        await pages.aclose()
        await eventually(lambda: len(lab.sidecar.services.happenings) == 0, within=WITHIN)
        async with watching(lab.http) as events:
            assert (await anext(events))[0] == "hello"
