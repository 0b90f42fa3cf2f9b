"""The `openai` package, unmodified: completions with and without a suffix, embeddings, models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.fakes.laboratory import Laboratory, eventually
from tests.fakes.providers import FakeProvider, Reply, Status
from tests.fakes.sidecar import TOKEN, RunningSidecar, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

PREFIX, SUFFIX = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"


async def test_a_completion(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    lab.provider.script(Reply(text=("a", " + ", "b")))
    answer = await client.completions.create(model="auto", prompt=PREFIX, suffix=SUFFIX, max_tokens=32)
    assert answer.object == "text_completion"
    assert answer.choices[0].text == "a + b"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    (asked,) = lab.asked
    assert asked.path == "/api/generate"
    assert (asked.body["prompt"], asked.body["suffix"]) == (PREFIX, SUFFIX)
    assert asked.body["options"]["num_predict"] == 32
    assert asked.body["options"]["num_ctx"] == 8192
    (row,) = lab.rows(answer.id.removeprefix("cmpl-"))
    assert (row["task_type"], row["status"], row["output_tokens"]) == ("completion", "ok", 3)


async def test_a_stream_of_one(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    lab.provider.script(Reply(text=("a", " + ", "b")))
    stream = await client.completions.create(
        model="auto", prompt=PREFIX, suffix=SUFFIX, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].text for c in chunks if c.choices) == "a + b"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None


async def test_without_a_suffix_the_text_is_gone_on_with(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    await client.completions.create(model="ollama/small", prompt="Once upon", stop=["\n"], temperature=0, top_p=0.9)
    assert lab.sent["prompt"] == "Once upon"
    assert lab.sent["raw"] is True
    assert "suffix" not in lab.sent
    options = lab.sent["options"]
    assert (options["stop"], options["temperature"], options["top_p"]) == (["\n"], 0, 0.9)
    await client.completions.create(model="hosted_vllm/served", prompt="Once upon")
    assert lab.asked[-1].path == "/v1/completions"
    assert lab.sent["prompt"] == "Once upon"


def said_by(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


async def test_what_can_only_chat_is_asked_in_words(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    for model in ("openai/priced", "anthropic/careful", "hosted_vllm/served"):
        answer = await client.completions.create(model=model, prompt=PREFIX, suffix=SUFFIX)
        assert answer.choices[0].text == "Hello from the fake provider."
        assert lab.asked[-1].path.endswith(("chat/completions", "messages"))
        assert f"<before_cursor>{PREFIX}</before_cursor>" in said_by(lab.sent["messages"][-1])


@pytest.mark.parametrize(
    ("given", "param"),
    [({"n": 2}, "n"), ({"echo": True}, "echo"), ({"best_of": 3}, "best_of"), ({"logprobs": 1}, "logprobs")],
)
async def test_what_cannot_be_done_is_named(
    lab: Laboratory, client: openai.AsyncOpenAI, given: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.completions.create(model="auto", prompt="x", **given)
    assert refused.value.param == param
    assert lab.asked == []


# -- a gap, as each server takes it best --------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def coders(tmp_path: Path) -> AsyncIterator[tuple[RunningSidecar, FakeProvider]]:
    names = ("ollama/llama3:8b", "ollama/qwen2.5-coder:1.5b", "hosted_vllm/codellama-7b", "hosted_vllm/starcoder2-3b")
    async with FakeProvider() as provider:

        def entry(name: str) -> dict[str, Any]:
            base = provider.url if name.startswith("ollama") else f"{provider.url}/v1"
            return {"id": name, "api_base": base, "context_window": 1024}

        rules = [{"name": "all", "conditions": {}, "model": names[0]}]
        async with running_sidecar(tmp_path, models=[entry(n) for n in names], rules=rules) as sidecar:
            yield sidecar, provider


def package(sidecar: RunningSidecar) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{sidecar.url}/v1", api_key=TOKEN, timeout=30)


async def test_each_family_sees_its_own_marks(coders: tuple[RunningSidecar, FakeProvider]) -> None:
    sidecar, provider = coders
    async with package(sidecar) as client:
        await client.completions.create(model="hosted_vllm/codellama-7b", prompt="A", suffix="B")
        assert provider.chats[-1].body["prompt"] == "<PRE> A <SUF>B <MID>"
        assert provider.chats[-1].path == "/v1/completions"
        await client.completions.create(model="hosted_vllm/starcoder2-3b", prompt="A", suffix="B")
        assert provider.chats[-1].body["prompt"] == "<fim_prefix>A<fim_suffix>B<fim_middle>"


async def test_an_editors_own_marks_are_read(coders: tuple[RunningSidecar, FakeProvider]) -> None:
    """Continue puts the marks of the model's family round the text itself, and sends a dozen stops."""
    sidecar, provider = coders
    prompt, stops = "<|fim_prefix|>A<|fim_suffix|>B<|fim_middle|>", [f"<|stop_{i}|>" for i in range(12)]
    async with package(sidecar) as client:
        await client.completions.create(model="ollama/qwen2.5-coder:1.5b", prompt=prompt, stop=stops)
        body = provider.chats[-1].body
        assert (body["prompt"], body["suffix"], body["options"]["stop"]) == ("A", "B", stops)
        await client.completions.create(model="hosted_vllm/codellama-7b", prompt=prompt)
        assert provider.chats[-1].body["prompt"] == "<PRE> A <SUF>B <MID>"
        await client.completions.create(model="hosted_vllm/codellama-7b", prompt="[SUFFIX]B[PREFIX]A")
        assert provider.chats[-1].body["prompt"] == "<PRE> A <SUF>B <MID>"


async def test_a_server_that_cannot_insert_is_asked_in_the_next_best_way_from_then_on(
    coders: tuple[RunningSidecar, FakeProvider],
) -> None:
    sidecar, provider = coders
    refusal = Status(400, message='"llama3:8b" does not support insert')
    async with package(sidecar) as client:
        provider.script(refusal, Reply(text=("said",)))
        answer = await client.completions.create(model="ollama/llama3:8b", prompt="A", suffix="B")
        assert answer.choices[0].text == "said"
        assert [r.path for r in provider.chats] == ["/api/generate", "/api/chat"]
        await client.completions.create(model="ollama/llama3:8b", prompt="A", suffix="B")
        assert provider.chats[-1].path == "/api/chat"
        assert len(provider.chats) == 3
        provider.script(refusal)
        await client.completions.create(model="ollama/qwen2.5-coder:1.5b", prompt="A", suffix="B")
        assert provider.chats[-1].body["raw"] is True
        assert provider.chats[-1].body["prompt"] == "<|fim_prefix|>A<|fim_suffix|>B<|fim_middle|>"
    assert {row["status"] for row in sidecar.rows()} == {"ok"}


async def test_of_a_long_file_the_text_nearest_to_the_cursor_is_sent(
    coders: tuple[RunningSidecar, FakeProvider],
) -> None:
    sidecar, provider = coders
    before = "".join(f"before_{i} = {i}\n" for i in range(2000)) + "here = "
    after = "".join(f"\nafter_{i} = {i}" for i in range(2000))
    async with package(sidecar) as client:
        await client.completions.create(model="ollama/qwen2.5-coder:1.5b", prompt=before, suffix=after, max_tokens=64)
    body = provider.chats[-1].body
    assert before.endswith(body["prompt"])
    assert body["prompt"].startswith("before_")
    assert after.startswith(body["suffix"])
    assert 1500 < len(body["prompt"]) + len(body["suffix"]) < 6000
    assert len(body["prompt"]) > len(body["suffix"]) > 200


# -- stale ones ---------------------------------------------------------------------------------------------------


async def test_a_newer_inline_completion_takes_the_older_ones_place(
    lab: Laboratory, client: openai.AsyncOpenAI
) -> None:
    lab.provider.script(Reply(text=tuple("abcdefgh" * 50), delay=0.05), Reply(text=("new",)))
    older = await client.completions.create(model="auto", prompt="o", suffix="x", stream=True)
    first = await anext(older)
    newer = asyncio.create_task(client.completions.create(model="auto", prompt="n", suffix="x"))
    with pytest.raises(openai.APIError) as ended:
        [chunk async for chunk in older]
    assert ended.value.code == "superseded"
    assert (await newer).choices[0].text == "new"
    await lab.provider.client_left(within=2.0)
    row_id = first.id.removeprefix("cmpl-")
    await eventually(lambda: [row["status"] for row in lab.rows(row_id)] == ["cancelled"])


async def test_one_that_had_said_nothing_yet_ends_as_a_status_and_is_not_repeated(
    lab: Laboratory, client: openai.AsyncOpenAI
) -> None:
    lab.provider.script(Reply(delay=5.0), Reply(text=("new",)))
    older = asyncio.create_task(client.completions.create(model="auto", prompt="o", suffix="x"))
    await eventually(lambda: len(lab.asked) == 1)
    assert (await client.completions.create(model="auto", prompt="n", suffix="x")).choices[0].text == "new"
    with pytest.raises(openai.ConflictError) as ended:
        await older
    assert ended.value.code == "superseded"
    assert len(lab.asked) == 2


async def test_windows_of_an_editor_and_plain_completions_do_not_disturb_each_other(
    lab: Laboratory, client: openai.AsyncOpenAI
) -> None:
    lab.provider.always(Reply(text=("a", "b"), delay=0.1))
    answers = await asyncio.gather(
        client.completions.create(model="auto", prompt="1", suffix="x", extra_headers={"X-Session-Id": "one"}),
        client.completions.create(model="auto", prompt="2", suffix="x", extra_headers={"X-Session-Id": "two"}),
        client.completions.create(model="auto", prompt="3"),
        client.completions.create(model="auto", prompt="4"),
    )
    assert [a.choices[0].text for a in answers] == ["ab"] * 4


# -- embeddings and models ----------------------------------------------------------------------------------------


async def test_embeddings_are_made_here(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    if (problem := lab.sidecar.services.embedder.problem) is not None:
        pytest.skip(problem)
    texts = ["The cat sat on the mat.", "A cat was sitting on a rug.", "Interest rates rose."]
    # The package asks for base64 by itself, and for numbers where it is told so.
    packed = await client.embeddings.create(model="text-embedding-3-small", input=texts)
    plain = await client.embeddings.create(model="auto", input=texts, encoding_format="float")
    assert [len(d.embedding) for d in packed.data] == [384] * 3
    assert packed.model == "all-MiniLM-L6-v2"
    assert packed.usage.prompt_tokens > 0

    def likeness(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    first, second, third = (d.embedding for d in packed.data)
    assert likeness(first, second) > 0.5 > likeness(first, third)
    assert all(abs(x - y) < 1e-6 for x, y in zip(first, plain.data[0].embedding, strict=True))
    single = await client.embeddings.create(model="auto", input=texts[0])
    assert likeness(single.data[0].embedding, first) > 0.999
    assert lab.provider.requests == []


async def test_embeddings_that_cannot_be_made(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.embeddings.create(model="auto", input="x", dimensions=1536)
    assert refused.value.param == "dimensions"
    with pytest.raises(openai.BadRequestError):
        await client.embeddings.create(model="auto", input=[[1, 2, 3]])


async def test_the_names_a_client_may_say(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed[0] == "auto"
    assert {"ollama/small", "openai/priced", "away", "tuned"} <= set(listed)
    assert (await client.models.retrieve("ollama/small")).id == "ollama/small"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nothing")
