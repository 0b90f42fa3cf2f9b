"""OpenStreams: the limit, and the newest of a lane."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from app.api.streams import Ended, OpenStreams, Watch
from app.errors import TooManyStreams


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def opened(streams: OpenStreams, lane: str | None, said: asyncio.Event) -> Ended | None:
    watch = Watch(streams, never, lane)
    async with watch:
        said.set()
        await asyncio.Event().wait()
    return watch.ended


async def started(streams: OpenStreams, lane: str | None) -> asyncio.Task[Ended | None]:
    said = asyncio.Event()
    task = asyncio.create_task(opened(streams, lane, said))
    waiting = asyncio.create_task(said.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return task


async def test_a_newer_one_takes_the_place_of_the_older_also_where_every_place_is_taken() -> None:
    streams = OpenStreams(2)
    other, older = await started(streams, None), await started(streams, "editor")
    newer = await started(streams, "editor")
    assert await older is Ended.SUPERSEDED
    assert len(streams) == 2
    assert not newer.done()
    # One of another lane finds no room, and ends nobody.
    with pytest.raises(TooManyStreams):
        await (await started(streams, "another editor"))
    assert [other.done(), newer.done()] == [False, False]
    streams.shut_down()
    assert [await other, await newer] == [Ended.SHUTDOWN] * 2
    assert len(streams) == 0


async def test_a_full_house_is_not_made_fuller_by_one_that_was_superseded_before() -> None:
    streams = OpenStreams(1)
    tasks = [await started(streams, "editor") for _ in range(5)]
    assert [await task for task in tasks[:-1]] == [Ended.SUPERSEDED] * 4
    assert len(streams) == 1
    streams.shut_down()
    assert await tasks[-1] is Ended.SHUTDOWN
