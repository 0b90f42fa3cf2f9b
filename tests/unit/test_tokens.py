"""TokenCounter: the bundled vocabularies, bounded time, and what each part of a request costs."""

from __future__ import annotations

import asyncio
import importlib
import math
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from app.context.tokens import (
    EXACT_CHARACTERS,
    IMAGE_TOKENS,
    INLINE_CHARACTERS,
    MESSAGE_OVERHEAD,
    PIECE_CHARACTERS,
    VOCABULARIES,
    TokenCounter,
    bundled_folder,
    load_encoding,
    pieces_of,
    tokenizer_of,
)
from app.errors import StartupError

TEXT = "def add(a: int, b: int) -> int:\n    return a + b  # 12345 ¿qué? 漢字 😀\n"


@pytest.fixture(scope="module")
def counter() -> Iterator[TokenCounter]:
    counter = TokenCounter()
    counter.load()
    yield counter
    counter.close()


@pytest.mark.parametrize("name", sorted(VOCABULARIES))
def test_vocabulary_is_tiktokens_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(bundled_folder()))
    theirs = tiktoken.Encoding(**getattr(importlib.import_module("tiktoken_ext.openai_public"), name)())
    ours = load_encoding(name, bundled_folder())
    for text in (TEXT * 20, "  \n\n\t x", "It's   THE\r\nend", "a_b-c/d//e" * 9, "1234567"):
        assert ours.encode_ordinary(text) == theirs.encode_ordinary(text)


def test_altered_or_missing_vocabulary_is_refused_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    with pytest.raises(StartupError, match="cannot be read"):
        TokenCounter(tmp_path).count("x", "gpt-4")
    file = VOCABULARIES["cl100k_base"].file
    shutil.copy(bundled_folder() / file, tmp_path / file)
    with (tmp_path / file).open("ab") as out:
        out.write(b"\n")
    with pytest.raises(StartupError, match="not the expected one"):
        TokenCounter(tmp_path).count("x", "gpt-4")
    assert (tmp_path / file).exists()


@pytest.mark.parametrize(
    ("name", "encoding", "factor"),
    [
        ("llama3", "cl100k_base", 1.0),
        ("qwen2.5", "cl100k_base", 1.0),
        ("gpt-4o-mini", "o200k_base", 1.0),
        ("GPT-4", "cl100k_base", 1.0),
        ("llama2", "cl100k_base", 1.4),
        ("claude-sonnet", "cl100k_base", 1.25),
        ("gemini", "cl100k_base", 1.2),
        ("never-heard-of", "cl100k_base", 1.2),
        ("bytes", "utf8", 1.0),
    ],
)
def test_tokenizer_names(name: str, encoding: str, factor: float) -> None:
    assert (tokenizer_of(name).encoding, tokenizer_of(name).factor) == (encoding, factor)


def test_counts_are_exact_and_scaled_by_the_prior(counter: TokenCounter) -> None:
    exact = len(load_encoding("cl100k_base", bundled_folder()).encode_ordinary(TEXT))
    assert counter.count(TEXT, "llama3") == exact
    assert counter.count(TEXT, "llama2") == math.ceil(exact * 1.4)
    assert counter.count(TEXT, "bytes") == len(TEXT.encode())
    assert counter.count("", "claude") == 0


def test_special_token_spellings_are_text(counter: TokenCounter) -> None:
    for spelling in ("<|endoftext|>", "<|fim_prefix|>", "<|eot_id|>"):
        assert counter.count(spelling, "gpt-4") > 1
        assert counter.count(spelling, "gpt-4o") > 1


SHARED = TokenCounter()
SHARED.load()
COLD = TokenCounter(cache_entries=0)
COLD.load()


@given(st.text(max_size=300))
def test_any_text_has_a_count_the_cache_does_not_change(text: str) -> None:
    assert SHARED.count(text, "gpt-4") == SHARED.count(text, "gpt-4") == COLD.count(text, "gpt-4")


def test_lone_surrogates_are_counted(counter: TokenCounter) -> None:
    assert counter.count("a\ud800b", "gpt-4") >= 2


@given(st.text(alphabet="ab \n", max_size=3 * PIECE_CHARACTERS))
def test_pieces_are_the_text_and_never_longer_than_one_piece(text: str) -> None:
    pieces = list(pieces_of(text * 3))
    assert "".join(pieces) == text * 3
    assert all(len(piece) <= PIECE_CHARACTERS for piece in pieces)


def test_pieces_cost_little(counter: TokenCounter) -> None:
    text = TEXT * 2_000
    whole = len(load_encoding("cl100k_base", bundled_folder()).encode_ordinary(text))
    assert whole <= counter.count(text, "gpt-4") <= whole * 1.002


@pytest.mark.parametrize("tokenizer", ["gpt-4", "gpt-4o"])
@pytest.mark.parametrize(
    "text", ["a" * 100_000, " " * 1_000_000, "\n" * 100_000, "漢" * 100_000, "ab" * 5_000_000], ids=len
)
def test_pathological_text_takes_bounded_time(counter: TokenCounter, text: str, tokenizer: str) -> None:
    counter.load(tokenizer_of(tokenizer).encoding)
    started = time.process_time()
    assert counter.count(text, tokenizer) > 0
    assert time.process_time() - started < 5  # 0.15 s measured; unbounded it would be minutes


def test_long_text_is_over_estimated(counter: TokenCounter) -> None:
    text = "".join(f"line {i}: {'x' * (i % 60)} = {i * 7919}\n" for i in range(80_000))
    assert len(text) > EXACT_CHARACTERS
    exact = sum(counter.count(piece, "gpt-4") for piece in pieces_of(text))
    assert exact <= counter.count(text, "gpt-4") <= exact * 1.3


def test_the_cache_is_bounded() -> None:
    counter = TokenCounter(cache_entries=10)
    for i in range(50):
        counter.count(f"text {i}", "gpt-4")
    assert len(counter._cache) <= 10


async def test_large_work_leaves_the_event_loop(counter: TokenCounter) -> None:
    text = TEXT * (1_000_000 // len(TEXT))
    gaps, done = [0.0], asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - before)

    watcher = asyncio.create_task(watch())
    counts = await counter.acount_many([text, "small"], "llama3")
    done.set()
    await watcher
    assert counts == [counter.count(text, "llama3"), counter.count("small", "llama3")]
    assert len(gaps) > 5  # the loop went on meanwhile


async def test_small_work_stays_on_the_loop(counter: TokenCounter) -> None:
    import threading

    here = threading.get_ident()
    assert await counter.run(threading.get_ident, INLINE_CHARACTERS, "gpt-4") == here
    assert await counter.run(threading.get_ident, INLINE_CHARACTERS + 1, "gpt-4") != here


def test_message_parts(counter: TokenCounter) -> None:
    text = counter.count("hello", "gpt-4")
    assert counter.message_tokens({"role": "user", "content": "hello"}, "gpt-4") == MESSAGE_OVERHEAD + text
    parts = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": "data:" + "A" * 10**6}}]
    assert counter.message_tokens({"role": "user", "content": parts}, "gpt-4") == (
        MESSAGE_OVERHEAD + text + IMAGE_TOKENS
    )
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"path": "a.py"}'}}
    assert counter.message_tokens({"role": "assistant", "content": None, "tool_calls": [call]}, "gpt-4") > 20


def test_tools_cost_at_least_their_json(counter: TokenCounter) -> None:
    tool = {"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}}
    assert counter.tools_tokens([tool, tool], "gpt-4") == 2 * counter.tools_tokens([tool], "gpt-4") > 20
