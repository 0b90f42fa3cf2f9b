"""The `anthropic` package, unmodified: messages, streams, tools, structured output, counting, errors, cancellation."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest
from pydantic import BaseModel

from tests.clients.tools import SCHEMA
from tests.fakes.laboratory import PIXEL, Laboratory, eventually
from tests.fakes.providers import CutMidStream, Reply, Status, ToolCall

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK: list[Any] = [{"role": "user", "content": "hello"}]
TOOLS: list[Any] = [{"name": "weather", "description": "Tells the weather.", "input_schema": SCHEMA}]


async def test_a_whole_message(lab: Laboratory, claude: anthropic.AsyncAnthropic) -> None:
    answer = await claude.messages.create(model="auto", max_tokens=50, messages=ASK, system="Be brief.")
    assert (answer.type, answer.role, answer.model, answer.stop_reason) == (
        *("message", "assistant", "ollama/small", "end_turn"),
    )
    (block,) = answer.content
    assert block.type == "text"
    assert block.text == "Hello from the fake provider."
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens == 6
    assert lab.sent["options"]["num_predict"] == 50
    assert any("Be brief." in m["content"] for m in lab.sent["messages"] if m["role"] == "system")
    (row,) = lab.rows(answer.id.removeprefix("msg_"))
    assert (row["status"], row["output_tokens"]) == ("ok", 6)


async def test_a_stream(lab: Laboratory, claude: anthropic.AsyncAnthropic) -> None:
    async with claude.messages.stream(model="auto", max_tokens=50, messages=ASK) as stream:
        texts = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert "".join(texts) == "Hello from the fake provider."
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == 6


async def test_the_order_of_the_events(lab: Laboratory, claude: anthropic.AsyncAnthropic) -> None:
    lab.provider.script(
        Reply(reasoning=("hm",), text=("so", "!"), tool_calls=(ToolCall("weather", '{"city": "Oslo"}'),))
    )
    stream = await claude.messages.create(
        model="openai/priced",
        max_tokens=2000,
        messages=ASK,
        tools=TOOLS,
        thinking={"type": "enabled", "budget_tokens": 1024},
        stream=True,
    )
    kinds = [f"{e.type}:{e.content_block.type}" if e.type == "content_block_start" else e.type async for e in stream]
    assert [k for i, k in enumerate(kinds) if i == 0 or kinds[i - 1] != k] == [
        "message_start",
        *("content_block_start:thinking", "content_block_delta", "content_block_stop"),
        *("content_block_start:text", "content_block_delta", "content_block_stop"),
        *("content_block_start:tool_use", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]


@pytest.mark.parametrize("model", ["ollama/small", "openai/priced", "anthropic/careful"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_there_and_back(
    lab: Laboratory, claude: anthropic.AsyncAnthropic, model: str, streamed: bool
) -> None:
    lab.provider.script(Reply(text=("Let me see.",), tool_calls=(ToolCall("weather", '{"city": "Oslo"}'),)))
    asked: dict[str, Any] = {"model": model, "max_tokens": 500, "messages": ASK, "tools": TOOLS}
    if streamed:
        async with claude.messages.stream(**asked) as stream:
            answer = await stream.get_final_message()
    else:
        answer = await claude.messages.create(**asked)
    assert answer.stop_reason == "tool_use"
    text, use = answer.content
    assert text.type == "text"
    assert use.type == "tool_use"
    assert (use.name, use.input) == ("weather", {"city": "Oslo"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "rain"}]}
    back = [*ASK, {"role": "assistant", "content": [b.model_dump() for b in answer.content]}]
    back.append({"role": "user", "content": [result]})
    lab.provider.script(Reply(text=("It rains.",)))
    final = await claude.messages.create(**{**asked, "messages": back})
    assert final.content[0].type == "text"
    assert "rain" in json.dumps(lab.sent["messages"])


async def test_an_image_goes_through(lab: Laboratory, claude: anthropic.AsyncAnthropic) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]}
    content: Any = [{"type": "text", "text": "what?"}, {"type": "image", "source": source}]
    await claude.messages.create(
        model="openai/priced",
        max_tokens=50,
        messages=[{"role": "user", "content": content}],
    )
    assert lab.sent["messages"][-1]["content"][1]["image_url"]["url"] == PIXEL


async def test_stop_sequences_and_a_forced_tool(lab: Laboratory, claude: anthropic.AsyncAnthropic) -> None:
    await claude.messages.create(
        model="openai/priced",
        max_tokens=50,
        messages=ASK,
        tools=TOOLS,
        stop_sequences=["END"],
        tool_choice={"type": "tool", "name": "weather"},
    )
    assert lab.sent["stop"] == ["END"]
    assert lab.sent["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


class Fair(BaseModel):
    name: str
    day: int


async def test_structured_output_is_parsed(lab: Laboratory, claude: anthropic.AsyncAnthropic) -> None:
    lab.provider.script(Reply(text=('{"name": "fair", "day": 3}',)))
    answer = await claude.messages.parse(model="openai/priced", max_tokens=50, messages=ASK, output_format=Fair)
    assert answer.parsed_output == Fair(name="fair", day=3)
    assert lab.sent["response_format"]["json_schema"]["schema"]["properties"].keys() == {"name", "day"}


async def test_tokens_are_counted_and_no_model_is_called(lab: Laboratory, claude: anthropic.AsyncAnthropic) -> None:
    short = await claude.messages.count_tokens(model="auto", messages=ASK)
    long = await claude.messages.count_tokens(
        model="auto", messages=[{"role": "user", "content": "hello " * 1000}], tools=TOOLS, system="Be brief."
    )
    assert 1 <= short.input_tokens < 30
    assert 1000 <= long.input_tokens < 2000
    assert lab.asked == []


async def test_the_models_in_its_shape(lab: Laboratory, claude: anthropic.AsyncAnthropic) -> None:
    listed = [model.id async for model in await claude.models.list()]
    assert listed[0] == "auto"
    assert {"ollama/small", "away"} <= set(listed)


# -- errors ------------------------------------------------------------------------------------------------------


async def test_a_wrong_key(lab: Laboratory) -> None:
    async with anthropic.AsyncAnthropic(base_url=lab.sidecar.url, api_key="wrong") as stranger:
        with pytest.raises(anthropic.AuthenticationError) as refused:
            await stranger.messages.create(model="auto", max_tokens=5, messages=ASK)
    assert refused.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]


@pytest.mark.parametrize(
    ("given", "kind", "word"),
    [
        ({"model": "nobody-knows-this"}, anthropic.NotFoundError, "nobody-knows-this"),
        ({"extra_body": {"temperature": 1.5}}, anthropic.BadRequestError, "temperature"),
        ({"extra_body": {"base_url": "http://evil"}}, anthropic.BadRequestError, "base_url"),
        ({"extra_headers": {"X-Workspace": "wrok"}}, anthropic.BadRequestError, "wrok"),
        (
            {"model": "openai/priced", "extra_headers": {"X-Workspace": "work"}},
            anthropic.PermissionDeniedError,
            "priced",
        ),
    ],
)
async def test_refusals_are_its_own_errors(
    lab: Laboratory, claude: anthropic.AsyncAnthropic, given: dict[str, Any], kind: type[Exception], word: str
) -> None:
    with pytest.raises(kind, match=word):
        await claude.messages.create(**{"model": "auto", "max_tokens": 5, "messages": ASK, **given})
    assert lab.asked == []


async def test_a_failure_before_the_first_word_is_a_status(lab: Laboratory, claude: anthropic.AsyncAnthropic) -> None:
    lab.provider.always(Status(404), model="broken")
    for streamed in (False, True):
        before = len(lab.asked)
        with pytest.raises(anthropic.InternalServerError) as failed:
            await claude.messages.create(
                model="broken", max_tokens=5, messages=ASK, stream=streamed, extra_headers={"X-Task-Type": "broken"}
            )
        assert failed.value.status_code == 502
        assert len(lab.asked) == before + 1


async def test_a_failure_in_mid_stream_is_an_error_of_the_package(
    lab: Laboratory, claude: anthropic.AsyncAnthropic
) -> None:
    lab.provider.script(CutMidStream(after=2), model="torn")
    stream = await claude.messages.create(model="torn", max_tokens=5, messages=ASK, stream=True)
    heard = [await anext(stream) for _ in range(3)]
    with pytest.raises(anthropic.APIStatusError, match="incomplete"):
        heard += [event async for event in stream]


async def test_closing_the_stream_closes_the_upstream(lab: Laboratory, claude: anthropic.AsyncAnthropic) -> None:
    lab.provider.script(Reply(text=tuple("abcdefgh" * 50), delay=0.02))
    stream = await claude.messages.create(model="auto", max_tokens=500, messages=ASK, stream=True)
    first = await anext(stream)
    assert first.type == "message_start"
    await stream.close()
    await lab.provider.client_left(within=2.0)
    request_id = first.message.id.removeprefix("msg_")
    await eventually(lambda: [row["status"] for row in lab.rows(request_id)] == ["cancelled"])
