"""Sources over real sockets, the unpleasant ones: slow, dripping, busy, lying. No other source pays for them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from app.agents.sources import Fetched, Fetcher, Source
from app.llm.outside import Outside, OutsideClient, Reach
from tests.fakes.agents import HandClock
from tests.fakes.world import World, rss

GOOD = rss([("A router", "It chooses a model.")])
SECONDS = 1.0


def here() -> Reach:
    return Reach(local=frozenset({"127.0.0.1"}))


class Reading:
    """One agent's reading, from run to run: what it keeps lasts."""

    def __init__(self) -> None:
        self.hand = HandClock()
        self.kept: dict[str, Any] = {}

    async def read(self, *urls: str) -> dict[str, Fetched]:
        http = OutsideClient(Outside(seconds=SECONDS), here)
        fetcher = Fetcher(http, self.kept, lambda: self.hand.at, self.hand.sleep, 0.0)
        sources = [Source("feed", url, label=url.rpartition("/")[2]) for url in urls]
        return {found.source.name: found async for found in fetcher.fetch(sources)}


async def drip(request: web.Request) -> web.StreamResponse:
    """A byte now and then: no wait for a single one is long."""
    response = web.StreamResponse(headers={"Content-Type": "application/rss+xml"})
    await response.prepare(request)
    try:
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)
    except ConnectionError:
        return response


async def silent(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


@pytest.mark.parametrize("handler", [drip, silent])
async def test_a_slow_source_ends_in_time_and_holds_up_no_other(handler: Any) -> None:
    async with World() as world:
        world.answers["/slow"] = handler
        world.feed("/good", GOOD)
        found = await Reading().read(f"{world.url}/slow", f"{world.url}/good")
    assert found["slow"].failed
    assert f"did not answer within {SECONDS:g} s" in found["slow"].problem
    assert found["good"].parsed is not None


@pytest.mark.parametrize(
    ("status", "headers", "minutes"),
    [
        (429, {"Retry-After": "120"}, 2),
        (503, {"Retry-After": "600"}, 10),
        (503, {}, 15),
        (429, {"Retry-After": "Sun, 01 Mar 2026 12:30:00 GMT"}, 30),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1772367600"}, 20),
    ],
)
async def test_who_is_busy_is_left_alone_for_as_long_as_it_says(
    status: int, headers: dict[str, str], minutes: int
) -> None:
    reading = Reading()  # its clock stands at 12:00 on 1 March 2026, UTC
    async with World() as world:
        world.status("/busy", status, headers)
        url = f"{world.url}/busy"
        assert not (await reading.read(url))["busy"].failed, "patience is no failure"
        world.feed("/busy", GOOD)
        reading.hand.forward(minutes=minutes, seconds=-1)
        assert "asked not to be read before" in (await reading.read(url))["busy"].problem
        assert len(world.asked) == 1
        reading.hand.forward(seconds=1)
        assert (await reading.read(url))["busy"].parsed is not None


async def test_a_clock_that_is_set_back_shuts_no_source() -> None:
    reading = Reading()
    async with World() as world:
        world.status("/busy", 429, {"Retry-After": "60"})
        await reading.read(f"{world.url}/busy")
        world.feed("/busy", GOOD)
        reading.hand.at -= timedelta(days=30)
        assert (await reading.read(f"{world.url}/busy"))["busy"].parsed is not None


@pytest.mark.parametrize("marks", [{"etag": '"1"'}, {"modified": "Sun, 01 Mar 2026 11:00:00 GMT"}])
async def test_what_has_not_changed_is_not_sent_again(marks: dict[str, str]) -> None:
    reading = Reading()
    async with World() as world:
        world.feed("/feed", GOOD, **marks)
        assert (await reading.read(f"{world.url}/feed"))["feed"].parsed is not None
        again = (await reading.read(f"{world.url}/feed"))["feed"]
    assert (again.parsed, again.problem, again.failed) == (None, "", False)


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (GOOD.encode(), {"Content-Encoding": "gzip"}),  # it is not
        (GOOD.encode()[:-40], {}),  # cut off within its last tag
        (GOOD.encode("latin-1").replace(b"router", b"r\xf6uter"), {"Content-Type": "application/rss+xml"}),
        (b"\x00" * 1000, {}),
    ],
)
async def test_what_lies_of_itself_is_read_or_reported(data: bytes, headers: dict[str, str]) -> None:
    async def lying(request: web.Request) -> web.Response:
        return web.Response(body=data, headers=headers)

    async with World() as world:
        world.answers["/lying"] = lying
        world.feed("/good", GOOD)
        found = await Reading().read(f"{world.url}/lying", f"{world.url}/good")
    assert found["lying"].parsed is not None or found["lying"].problem
    assert found["good"].parsed is not None
