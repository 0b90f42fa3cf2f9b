"""Loading litellm: who waits for it, what it must not read, and that it never connects."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.errors import Unsupported
from app.llm.translate import Translator
from tests.unit.translating import KEY, call, loaded_translator


@pytest.fixture(scope="module")
def translator() -> Translator:
    return loaded_translator()


async def test_whoever_asks_early_waits_for_the_import() -> None:
    translator = Translator(str)
    waiting = [asyncio.create_task(translator.wait_ready()) for _ in range(3)]
    waiting[0].cancel()
    await asyncio.sleep(0)
    with pytest.raises(Unsupported, match="still being loaded"):
        translator.request(call("openai"), KEY)
    thread = threading.Thread(target=translator.load)
    thread.start()
    await asyncio.wait_for(asyncio.gather(*waiting[1:]), 30)
    thread.join()
    await translator.wait_ready()
    assert translator.request(call("openai"), KEY).url


async def test_a_litellm_that_would_redirect_every_call_is_not_used(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    litellm = importlib.import_module("litellm")
    monkeypatch.setattr(litellm, "api_base", "http://evil.example")
    other = Translator(str)
    other.load()
    assert not other.ready
    with pytest.raises(Unsupported, match="api_base"):
        await other.wait_ready()


PROGRAM = """
import asyncio, http.server, os, sys, threading
os.chdir(sys.argv[1])
said = []
def audit(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        said.append((event, str(arguments[1:])))
sys.addaudithook(audit)
from app.llm.translate import Translator
assert "litellm" not in sys.modules
translator = Translator(str)
translator.load()
assert translator.ready
print("connections while loading", said)
print("read from .env", os.environ.get("OPENAI_BASE_URL"))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        hits.append(self.path)
        self.send_error(404)
    do_POST = do_CONNECT = do_GET
    def log_message(self, *_):
        pass
hits = []
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
os.environ |= {"HTTP_PROXY": url, "http_proxy": url, "ALL_PROXY": url, "OLLAMA_API_BASE": url}

import litellm
from litellm.main import acompletion, completion
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler
def causes(error):
    while error:
        yield type(error).__name__
        error = error.__cause__ or error.__context__
def ask(model):
    return dict(model=model, messages=[{"role": "user", "content": "a"}], api_base=url, api_key="k", num_retries=0,
                max_retries=0)
async def coroutine(call):
    return await call()
models = ("openai/m", "anthropic/m", "gemini/m", "ollama_chat/m")
calls = {"module": lambda: litellm.module_level_client.get(url), "sync": lambda: HTTPHandler().get(url)}
calls["openai/m"] = lambda: completion(**ask("openai/m"))
calls["async"] = lambda: asyncio.run(coroutine(lambda: AsyncHTTPHandler().get(url)))
calls |= {"a" + m: (lambda m=m: asyncio.run(coroutine(lambda: acompletion(**ask(m))))) for m in models}
for name, call in calls.items():
    try:
        call()
        print(name, "connected")
    except Exception as error:
        print(name, "refused" if "EgressBlocked" in causes(error) else repr(error))
print("hits", hits)
"""


def test_loading_is_silent_and_litellm_never_connects(tmp_path: Path) -> None:
    """In a process of its own, where litellm is imported for the first time."""
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://evil.example\n")
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True, timeout=50, check=False, env=here
    )
    assert done.returncode == 0, done.stderr
    first, second, *refusals, hits = done.stdout.splitlines()
    assert (first, second, hits) == ("connections while loading []", "read from .env None", "hits []")
    assert len(refusals) == 8
    assert all(line.endswith(" refused") for line in refusals), refusals
