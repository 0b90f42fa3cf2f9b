"""The fake providers keep their word: other tests lean on what they record about closed connections."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.fakes.providers import CutMidStream, FakeProvider, Hang, Reply, Status

CHAT = {"model": "llama3:8b", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


async def test_scripts_are_played_in_order_then_the_standing_answer() -> None:
    async with FakeProvider() as provider, aiohttp.ClientSession() as session:
        provider.script(Status(500), model="llama3:8b")
        provider.script(Status(501))
        provider.always(Status(502))
        statuses = []
        for _ in range(3):
            async with session.post(f"{provider.url}/api/chat", json=CHAT) as response:
                statuses.append(response.status)
        assert statuses == [500, 501, 502]
        assert [r.body["model"] for r in provider.chats] == ["llama3:8b"] * 3


@pytest.mark.parametrize("when", ["before_headers", "after_headers", "mid_stream"])
async def test_a_client_that_leaves_is_noticed(when: str) -> None:
    async with FakeProvider() as provider:
        provider.script(Hang(when))  # type: ignore[arg-type]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.1)) as session:
            with pytest.raises(TimeoutError):
                async with session.post(f"{provider.url}/api/chat", json=CHAT) as response:
                    await response.read()
        left = await provider.client_left()
        assert left.client_closed_at is not None
        assert left.deltas_sent == (2 if when == "mid_stream" else 0)
        await asyncio.sleep(0.05)
        assert provider.open_connections == 0


async def test_a_client_that_stays_is_not_called_gone() -> None:
    async with FakeProvider() as provider, aiohttp.ClientSession() as session:
        async with session.post(f"{provider.url}/api/chat", json=CHAT) as response:
            await response.read()
        assert provider.closed == []
        assert provider.requests[0].finished_at is not None
        assert provider.requests[0].deltas_sent == Reply().deltas


async def test_a_reset_is_no_clean_end() -> None:
    async with FakeProvider() as provider, aiohttp.ClientSession() as session:
        provider.script(CutMidStream(after=2, how="reset"))
        async with session.post(f"{provider.url}/api/chat", json=CHAT) as response:
            begun = await response.content.readany()
            assert begun.count(b"\n") >= 1
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.content.read()


async def test_lists_keys_and_unknown_models() -> None:
    async with (
        FakeProvider(models={"a": 4096}, key="k", only_listed=True) as provider,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{provider.url}/api/tags") as response:
            assert [m["name"] for m in (await response.json())["models"]] == ["a"]
        async with session.post(f"{provider.url}/api/show", json={"model": "a"}) as response:
            assert (await response.json())["model_info"]["llama.context_length"] == 4096
        async with session.post(f"{provider.url}/api/chat", json=CHAT) as response:
            assert response.status == 401
        async with session.post(
            f"{provider.url}/api/chat", json=CHAT, headers={"authorization": "Bearer k"}
        ) as response:
            assert response.status == 404
