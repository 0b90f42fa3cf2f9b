"""A model's time begins when it is asked: what our own start-up takes is not held against it."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import aclosing
from dataclasses import replace

from app.config.secrets import Secrets
from app.llm.calls import TextDelta
from app.llm.client import LLMClient
from app.llm.embedded import EmbeddedModels
from app.llm.translate import Translator
from app.llm.transport import Transport
from app.llm.warmup import sample_call
from app.llm.watchdog import Limits
from app.routing.catalog import Endpoint
from app.routing.locality import Location
from tests.fakes.providers import FakeProvider

FIRST_TOKEN = 2.0


async def test_a_request_during_the_import_keeps_its_first_token_limit() -> None:
    translator = Translator(str)
    async with FakeProvider() as provider, Transport() as transport:
        client = LLMClient(translator, transport, EmbeddedModels(), Secrets({}, list), len)
        call = sample_call("ollama_chat")
        here = Endpoint(provider.url, Location.LOOPBACK, "test")
        call = replace(call, model=replace(call.model, endpoint=here), tools=())

        def load_late() -> None:
            time.sleep(FIRST_TOKEN + 0.2)
            translator.load()

        loading = threading.Thread(target=load_late)
        loading.start()
        texts: list[str] = []
        async with aclosing(client.stream(call, Limits(FIRST_TOKEN, 60, 60))) as batches:
            async for batch in batches:
                texts += [chunk.text for chunk in batch if isinstance(chunk, TextDelta)]
        await asyncio.to_thread(loading.join)
    assert "".join(texts) == "Hello from the fake provider."
