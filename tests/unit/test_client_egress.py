"""Translating asks nobody, and a hostile answer shows and costs nothing."""

from __future__ import annotations

import subprocess
import sys
import time

from app.config.redact import Redactor
from app.llm import failures
from app.llm.warmup import sample_call

REACHING = """
import asyncio, socket
from contextlib import aclosing
from app.config.secrets import Secrets
from app.errors import EgressBlocked
from app.llm.calls import ModelCall
from app.llm.client import LLMClient
from app.llm.egress import install_audit_hook
from app.llm.embedded import EmbeddedModels
from app.llm.transport import Transport
from app.llm.watchdog import Limits
from app.routing.locality import Location
from app.routing.spec import Endpoint, ModelSpec, Source, Sourced

class Reaching:
    # What a library may do behind our back while it translates.
    async def wait_ready(self): pass
    def request(self, call, key):
        socket.getaddrinfo("somebody.example", 443)

async def main():
    install_audit_hook()
    unknown = Sourced(None, Source.DEFAULT)
    where = Endpoint("https://cloud.invalid/v1", Location.CLOUD, "test")
    window = Sourced(8192, Source.CONFIG)
    model = ModelSpec("openai/m", "openai", "openai", "m", where, window, unknown, unknown, "gpt-4")
    async with Transport() as transport:
        client = LLMClient(Reaching(), transport, EmbeddedModels(), Secrets({}, lambda: []), len)
        call = ModelCall(model, ({"role": "user", "content": "hi"},), local_only=False)
        async with aclosing(client.stream(call, Limits(5, 5, 5))) as batches:
            try:
                await anext(batches)
            except EgressBlocked:
                print("refused")

asyncio.run(main())
"""


def test_half_a_key_at_the_end_of_what_is_read_is_not_shown() -> None:
    key = "correct-horse-battery-staple"
    call = sample_call("openai")
    text = "wrong key:" + " " * (failures.SEARCHED_CHARACTERS - 20) + key
    shown = failures.quote(call, text, Redactor([key]).redact)
    assert shown == "wrong key:"
    begun = time.process_time()
    failures.quote(call, "eyJ-x bearer " * 2_000_000, Redactor([key]).redact)
    assert time.process_time() - begun < 0.5


def test_what_a_translation_reaches_for_is_refused() -> None:
    done = subprocess.run([sys.executable, "-c", REACHING], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout.strip(), done.stderr) == ("refused", "")
