"""The `openai` package, unmodified: chat, streaming, tools, structured output, errors, cancellation."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionToolParam
from pydantic import BaseModel

from tests.clients.tools import WEATHER
from tests.fakes.laboratory import PIXEL, Laboratory, eventually
from tests.fakes.providers import CutMidStream, ErrorInStream, Reply, Status, ToolCall

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK: list[Any] = [{"role": "user", "content": "hello"}]
TOOLS: list[ChatCompletionToolParam] = [WEATHER]  # type: ignore[list-item]


async def test_a_whole_answer(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="auto", messages=ASK)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "ollama/small"
    (choice,) = answer.choices
    assert choice.message.content == "Hello from the fake provider."
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    (row,) = lab.rows(answer.id.removeprefix("chatcmpl-"))
    assert (row["status"], row["workspace_profile_id"], row["task_type"]) == ("ok", "open", "chat")
    assert row["output_tokens"] == answer.usage.completion_tokens


async def test_a_stream(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="auto", messages=ASK, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello from the fake provider."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks[-2:]] == [None, "stop"]
    assert len({c.id for c in chunks}) == len({c.created for c in chunks}) == 1
    assert {c.model for c in chunks} == {"ollama/small"}
    assert all(c.usage is None for c in chunks)


async def test_usage_in_the_last_chunk_of_a_stream(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="openai/priced", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 6
    assert all(c.usage is None for c in chunks[:-1])


async def test_what_is_asked_for_reaches_the_model(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    await client.chat.completions.create(
        model="openai/priced",
        messages=[{"role": "system", "content": "Be brief."}, *ASK],
        temperature=0.25,
        top_p=0.5,
        seed=7,
        presence_penalty=0.1,
        max_completion_tokens=55,
        stop=["END"],
        user="somebody",
    )
    sent = lab.sent
    assert (sent["temperature"], sent["top_p"], sent["seed"], sent["presence_penalty"]) == (0.25, 0.5, 7, 0.1)
    assert sent["stop"] == ["END"]
    assert 55 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
    assert "user" not in sent
    await client.chat.completions.create(model="ollama/small", messages=ASK, top_p=0.5, seed=7, max_tokens=44)
    options = lab.sent["options"]
    assert (options["top_p"], options["seed"], options["num_predict"]) == (0.5, 7, 44)


async def test_an_image_goes_through(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    content: list[Any] = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    await client.chat.completions.create(model="openai/priced", messages=[{"role": "user", "content": content}])
    assert lab.sent["messages"][-1]["content"][1]["image_url"]["url"] == PIXEL


@pytest.mark.parametrize("model", ["ollama/small", "openai/priced", "anthropic/careful"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_there_and_back(lab: Laboratory, client: openai.AsyncOpenAI, model: str, streamed: bool) -> None:
    lab.provider.script(Reply(text=(), tool_calls=(ToolCall("weather", '{"city": "Oslo"}'),)))
    if streamed:
        async with client.chat.completions.stream(model=model, messages=ASK, tools=TOOLS) as stream:
            answer: Any = await stream.get_final_completion()
    else:
        answer = await client.chat.completions.create(model=model, messages=ASK, tools=TOOLS)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    assert call.id
    # The whole message goes back as it came, as clients do, and the tool's result with it.
    back = [*ASK, choice.message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    lab.provider.script(Reply(text=("It rains.",)))
    final = await client.chat.completions.create(model=model, messages=back, tools=TOOLS)
    assert final.choices[0].message.content == "It rains."
    assert "rain" in json.dumps(lab.sent["messages"])


class Event(BaseModel):
    name: str
    day: int


async def test_structured_output_is_parsed(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    lab.provider.script(Reply(text=('{"name": "fair"', ', "day": 3}')))
    answer = await client.chat.completions.parse(model="openai/priced", messages=ASK, response_format=Event)
    assert answer.choices[0].message.parsed == Event(name="fair", day=3)
    asked = lab.sent["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["schema"]["properties"].keys() == {"name", "day"}
    lab.provider.script(Reply(text=('{"name": "fair", "day": 3}',)))
    answer = await client.chat.completions.parse(model="ollama/small", messages=ASK, response_format=Event)
    assert answer.choices[0].message.parsed == Event(name="fair", day=3)
    assert lab.sent["format"]["properties"].keys() == {"name", "day"}


async def test_reasoning_is_handed_on(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    lab.provider.script(Reply(reasoning=("hm", "m"), text=("yes",)))
    stream = await client.chat.completions.create(model="openai/priced", messages=ASK, stream=True)
    deltas = [chunk.choices[0].delta.model_dump() async for chunk in stream]
    assert "".join(d.get("reasoning_content") or "" for d in deltas) == "hmm"
    assert "".join(d.get("content") or "" for d in deltas) == "yes"


# -- errors ------------------------------------------------------------------------------------------------------


async def test_a_wrong_key(lab: Laboratory) -> None:
    async with openai.AsyncOpenAI(base_url=f"{lab.sidecar.url}/v1", api_key="wrong") as stranger:
        with pytest.raises(openai.AuthenticationError) as refused:
            await stranger.chat.completions.create(model="auto", messages=ASK)
    assert refused.value.code == "invalid_api_key"
    assert lab.asked == []


async def test_an_unknown_model(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        await client.chat.completions.create(model="nobody-knows-this", messages=ASK)
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"extra_body": {"api_base": "http://evil"}}, "api_base"),
        ({"extra_body": {"messages": []}}, "messages"),
        ({"extra_headers": {"X-Task-Type": "No!"}}, "x-task-type"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    ],
)
async def test_what_cannot_be_done_is_named(
    lab: Laboratory, client: openai.AsyncOpenAI, given: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="auto", messages=ASK, **given)
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"
    assert lab.asked == []


async def test_a_private_workspace_does_not_ask_the_cloud(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await client.chat.completions.create(model="openai/priced", messages=ASK, extra_headers={"X-Workspace": "work"})
    assert refused.value.code == "no_permitted_model"
    assert lab.provider.requests == []


async def test_a_failure_before_the_first_word_is_a_status_and_is_asked_once(
    lab: Laboratory, client: openai.AsyncOpenAI
) -> None:
    lab.provider.always(Status(404), model="broken")
    for streamed in (False, True):
        before = len(lab.asked)
        with pytest.raises(openai.InternalServerError) as failed:
            await client.chat.completions.create(
                model="auto", messages=ASK, stream=streamed, extra_headers={"X-Task-Type": "broken"}
            )
        assert failed.value.status_code == 502
        assert failed.value.code == "all_candidates_failed"
        # The router has been through its candidates; the package must not begin all over again.
        assert len(lab.asked) == before + 1


@pytest.mark.parametrize("step", [CutMidStream(after=2), ErrorInStream(after=2)])
async def test_a_failure_in_mid_stream_is_an_error_of_the_package(
    lab: Laboratory, client: openai.AsyncOpenAI, step: Any
) -> None:
    lab.provider.script(step, model="torn")
    stream = await client.chat.completions.create(
        model="auto", messages=ASK, stream=True, extra_headers={"X-Task-Type": "torn"}
    )
    heard = [await anext(stream) for _ in range(2)]
    with pytest.raises(openai.APIError) as failed:
        heard += [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in heard) in "Hello from"
    assert failed.value.code == "stream_interrupted"
    assert "incomplete" in failed.value.message


async def test_closing_the_stream_closes_the_upstream(lab: Laboratory, client: openai.AsyncOpenAI) -> None:
    lab.provider.script(Reply(text=tuple("abcdefgh" * 50), delay=0.02))
    stream = await client.chat.completions.create(model="auto", messages=ASK, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    await lab.provider.client_left(within=2.0)
    request_id = chunk.id.removeprefix("chatcmpl-")
    await eventually(lambda: [row["status"] for row in lab.rows(request_id)] == ["cancelled"])


# -- where a request goes ----------------------------------------------------------------------------------------


async def test_workspace_and_task_type_come_from_headers_or_metadata(
    lab: Laboratory, client: openai.AsyncOpenAI
) -> None:
    async def row_of(**given: Any) -> dict[str, Any]:
        answer = await client.chat.completions.create(model="auto", messages=ASK, **given)
        (row,) = lab.rows(answer.id.removeprefix("chatcmpl-"))
        return row

    row = await row_of(extra_headers={"X-Workspace": "work", "X-Task-Type": "debugging"})
    assert (row["workspace_profile_id"], row["task_type"]) == ("work", "debugging")
    row = await row_of(metadata={"workspace": "shy", "task_type": "narrow"})
    assert (row["workspace_profile_id"], row["task_type"], row["rule"]) == ("shy", "narrow", "narrow")
    row = await row_of(metadata={"workspace": "shy"}, extra_headers={"X-Workspace": "work"})
    assert row["workspace_profile_id"] == "work"
    with pytest.raises(openai.BadRequestError, match="wrok"):
        await row_of(extra_headers={"X-Workspace": "wrok"})


async def test_a_rules_name_chooses_the_rule_and_the_policy_still_binds_it(
    lab: Laboratory, client: openai.AsyncOpenAI
) -> None:
    answer = await client.chat.completions.create(model="away", messages=ASK)
    (row,) = lab.rows(answer.id.removeprefix("chatcmpl-"))
    assert (row["rule"], answer.model) == ("away", "openai/priced")
    before = len(lab.provider.requests)
    with pytest.raises(openai.PermissionDeniedError):
        await client.chat.completions.create(model="away", messages=ASK, extra_headers={"X-Workspace": "work"})
    assert len(lab.provider.requests) == before
