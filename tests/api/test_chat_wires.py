"""What a chat asks for reaches every wire in its provider's own words, and what the model says comes back in ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.laboratory import KEY, PIXEL, WIRES, Laboratory, data_of, text_of
from tests.fakes.providers import Reply, ToolCall

pytestmark = pytest.mark.asyncio(loop_scope="module")

Body = dict[str, Any]
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"done": {"type": "boolean"}},
    "required": ["done"],
    "additionalProperties": False,
}


def openai_limit(body: Body) -> Any:
    return body.get("max_completion_tokens", body.get("max_tokens"))


LIMITS: dict[str, Callable[[Body], tuple[Any, ...]]] = {
    "ollama/small": lambda b: (b["options"]["num_predict"], b["options"]["temperature"], b["options"]["stop"]),
    "openai/priced": lambda b: (openai_limit(b), b["temperature"], b["stop"]),
    "hosted_vllm/served": lambda b: (openai_limit(b), b["temperature"], b["stop"]),
    "anthropic/careful": lambda b: (b["max_tokens"], b["temperature"], b["stop_sequences"]),
    "gemini/gemini-2.0-flash": lambda b: (
        b["generationConfig"]["max_output_tokens"],
        b["generationConfig"]["temperature"],
        b["generationConfig"]["stop_sequences"],
    ),
}
"""(output limit, temperature, stops) as each wire writes them."""


@pytest.mark.parametrize("model", WIRES)
async def test_limit_temperature_and_stops_reach_the_model(lab: Laboratory, model: str) -> None:
    events = await lab.chat(query="hi", model=model, max_output_tokens=123, temperature=0.25, stop=["END", "\n\n"])
    assert events[-1].data["model"] == model
    assert LIMITS[model](lab.sent) == (123, 0.25, ["END", "\n\n"])
    assert data_of(events, "context")[0]["reserved_output"] == 123


async def test_a_local_model_may_write_until_its_window_is_full(lab: Laboratory) -> None:
    events = await lab.chat(query="hi", model="ollama/small")
    context = next(event.data for event in events if event.name == "context")
    assert lab.sent["options"]["num_predict"] == context["window"] - context["input_tokens"]


@pytest.mark.parametrize("model", WIRES)
async def test_what_was_not_asked_for_is_not_sent(lab: Laboratory, model: str) -> None:
    await lab.chat(query="hi", model=model)
    sent = json.dumps(lab.sent)
    for word in ("temperature", "stop_sequences", '"stop"', "tools", "response_format"):
        assert word not in sent
    if model == "anthropic/careful":
        assert lab.sent["max_tokens"] == 4000, "this wire demands a limit: the model's own"


@pytest.mark.parametrize("model", [m for m in WIRES if "ollama" not in m and "vllm" not in m])
async def test_the_key_goes_where_its_wire_wants_it(lab: Laboratory, model: str) -> None:
    await lab.chat(query="hi", model=model)
    headers = lab.asked[-1].headers
    header = {"openai": "authorization", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}[model.partition("/")[0]]
    assert KEY in headers[header]
    assert KEY not in str(lab.asked[-1].query) + str(lab.asked[-1].path)


SYSTEM: dict[str, Callable[[Body], str]] = {
    "ollama/small": lambda b: json.dumps([m["content"] for m in b["messages"] if m["role"] == "system"]),
    "openai/priced": lambda b: json.dumps([m["content"] for m in b["messages"] if m["role"] == "system"]),
    "hosted_vllm/served": lambda b: json.dumps([m["content"] for m in b["messages"] if m["role"] == "system"]),
    "anthropic/careful": lambda b: json.dumps(b["system"]),
    "gemini/gemini-2.0-flash": lambda b: json.dumps(b["system_instruction"]),
}


@pytest.mark.parametrize("model", WIRES)
async def test_the_workspaces_prompt_is_the_system_prompt(lab: Laboratory, model: str) -> None:
    await lab.chat(query="hi", model=model)
    assert "You are terse." in SYSTEM[model](lab.sent)


async def test_ollama_is_told_its_window_and_how_long_to_stay(lab: Laboratory) -> None:
    await lab.chat(query="hi")
    assert lab.asked[-1].path == "/api/chat"
    assert (lab.sent["options"]["num_ctx"], lab.sent["keep_alive"], lab.sent["stream"]) == (8192, "5m", True)


async def test_a_models_own_parameters_and_the_rules_over_them(lab: Laboratory) -> None:
    await lab.chat(query="hi", model="ollama/coder")
    options = lab.sent["options"]
    assert (options["top_k"], options["temperature"], options["num_ctx"], lab.sent["keep_alive"]) == (
        7,
        0.9,
        8192,
        "1h",
    )
    events = await lab.chat(query="hi", metadata={"tier": "gold", "score": 3})
    assert events[0].data["rule"] == "tuned"
    options = lab.sent["options"]
    assert (options["top_k"], options["temperature"], options["num_predict"]) == (3, 0.1, 77)
    await lab.chat(query="hi", metadata={"tier": "gold", "score": 3}, temperature=0.7, max_output_tokens=9)
    options = lab.sent["options"]
    assert (options["temperature"], options["num_predict"]) == (0.7, 9), "what the request says wins"


# -- tools -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", WIRES)
async def test_tools_go_out_and_calls_come_back(lab: Laboratory, model: str) -> None:
    arguments = '{"word": "gap", "deep": {"n": [1, 2]}}'
    lab.provider.script(Reply(text=("Let me see.",), tool_calls=(ToolCall("look_up", arguments),)))
    events = await lab.chat(query="hi", model=model, tools=[TOOL], tool_choice="auto")
    assert "look_up" in json.dumps(lab.sent["tools"])
    calls = data_of(events, "tool_call")
    assert calls[0]["name"] == "look_up"
    assert calls[0]["id"]
    assert json.loads("".join(c["arguments"] for c in calls)) == json.loads(arguments)
    assert text_of(events) == "Let me see."
    assert events[-1].data["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("model", WIRES)
async def test_two_calls_in_one_json_answer(lab: Laboratory, model: str) -> None:
    calls = (ToolCall("look_up", '{"word": "a"}', id="call_1"), ToolCall("look_up", '{"word": "b"}', id="call_2"))
    lab.provider.script(Reply(text=(), tool_calls=calls))
    answer = await lab.whole(query="hi", model=model, tools=[TOOL])
    assert answer["text"] == ""
    assert [json.loads(c["arguments"]) for c in answer["tool_calls"]] == [{"word": "a"}, {"word": "b"}]
    assert {c["name"] for c in answer["tool_calls"]} == {"look_up"}
    assert len({c["id"] for c in answer["tool_calls"]}) == 2


@pytest.mark.parametrize("model", ["ollama/small", "gemini/gemini-2.0-flash"])
async def test_calls_without_an_id_get_one_that_no_other_answer_has(lab: Laboratory, model: str) -> None:
    """Clients keep a whole conversation's results by these ids."""
    seen = []
    for path, body in ((None, {}), ("/v1/chat/completions", {}), ("/v1/messages", {"max_tokens": 50})) * 2:
        lab.provider.script(Reply(text=(), tool_calls=(ToolCall("look_up", "{}"),)))
        if path is None:
            seen += [c["id"] for c in (await lab.whole(query="hi", model=model, tools=[TOOL]))["tool_calls"]]
            continue
        tool = TOOL if path.endswith("completions") else {"name": "look_up", "input_schema": {"type": "object"}}
        hello = [{"role": "user", "content": "hi"}]
        answer = (await lab.http.post(path, json={"model": model, "messages": hello, "tools": [tool], **body})).json()
        calls = answer["choices"][0]["message"]["tool_calls"] if path.endswith("completions") else answer["content"]
        seen += [call["id"] for call in calls]
    assert len(set(seen)) == 6, seen


@pytest.mark.parametrize("model", WIRES)
async def test_a_tools_result_goes_back(lab: Laboratory, model: str) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "gap"}'}}
    messages = [
        {"role": "user", "content": "What is a gap?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a break in continuity"},
    ]
    events = await lab.chat(messages=messages, model=model, tools=[TOOL])
    assert events[-1].name == "done"
    sent = json.dumps(lab.sent)
    assert "What is a gap?" in sent
    assert "a break in continuity" in sent
    places = [sent.index(part) for part in ("What is a gap?", "a break in continuity")]
    assert places[0] < places[1]
    assert "gap" in sent[places[0] + len("What is a gap?") : places[1]], "the call stands between"


# -- thinking, formats, pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", WIRES)
async def test_thinking_aloud_is_told_apart(lab: Laboratory, model: str) -> None:
    lab.provider.script(Reply(reasoning=("Hm, ", "well."), text=("Yes",)))
    events = await lab.chat(query="hi", model=model)
    assert "".join(d["text"] for d in data_of(events, "reasoning")) == "Hm, well."
    assert text_of(events) == "Yes"
    answer = await lab.whole(query="hi", model=model)
    assert "Hm" not in answer["text"]


FORMATS: dict[str, Callable[[Body], Any]] = {
    "ollama/small": lambda b: b["format"],
    "openai/priced": lambda b: b["response_format"]["json_schema"]["schema"],
    "hosted_vllm/served": lambda b: b["response_format"]["json_schema"]["schema"],
    "gemini/gemini-2.0-flash": lambda b: (
        b["generationConfig"].get("response_json_schema") or b["generationConfig"]["response_schema"]
    ),
}


@pytest.mark.parametrize("model", FORMATS)
async def test_a_schema_for_the_answer(lab: Laboratory, model: str) -> None:
    lab.provider.script(Reply(text=('{"done": ', "true}")))
    shape = {"type": "json_schema", "json_schema": {"name": "state", "schema": SCHEMA}}
    events = await lab.chat(query="hi", model=model, response_format=shape)
    assert json.loads(text_of(events)) == {"done": True}
    sent = FORMATS[model](lab.sent)
    assert sent["required"] == ["done"]
    assert str(sent["properties"]["done"]["type"]).lower() == "boolean"


async def test_a_schema_on_anthropics_wire_comes_back_as_text(lab: Laboratory) -> None:
    lab.provider.script(Reply(text=(), tool_calls=(ToolCall("json_tool_call", '{"done": true}'),)))
    shape = {"type": "json_schema", "json_schema": {"name": "state", "schema": SCHEMA}}
    events = await lab.chat(query="hi", model="anthropic/careful", response_format=shape)
    assert "done" in json.dumps(lab.sent.get("tools") or lab.sent.get("output_format"))
    assert json.loads(text_of(events)) == {"done": True}
    assert events[-1].data["finish_reason"] == "stop"


@pytest.mark.parametrize("model", WIRES)
async def test_a_picture_inside_the_request(lab: Laboratory, model: str) -> None:
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    events = await lab.chat(messages=[{"role": "user", "content": content}], model=model)
    assert (events[-1].name, events[-1].data["model"]) == ("done", model), events[-1].data
    sent = json.dumps(lab.sent)
    assert PIXEL.partition(",")[2] in sent
    assert "What is this?" in sent


async def test_who_cannot_see_is_left_out_with_the_reason(lab: Laboratory) -> None:
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    events = await lab.chat(messages=[{"role": "user", "content": content}], task_type="look")
    assert events[0].data["rule"] == "pictures"
    assert events[0].data["candidates"] == ["ollama/small"]
    assert any("images" in reason and "ollama/blind" in reason for reason in events[0].data["reasons"])


@pytest.mark.parametrize(
    ("model", "workspace", "reached"),
    [("openai/priced", "open", True), ("anthropic/careful", "open", True), ("hosted_vllm/served", "work", False)],
)
async def test_a_picture_by_its_address(lab: Laboratory, model: str, workspace: str, reached: bool) -> None:
    url = "https://pictures.example.org/cat.png"
    messages = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    events = await lab.chat(messages=messages, model=model, workspace=workspace)
    asked = [chat for chat in lab.asked if url in json.dumps(chat.body)]
    assert bool(asked) is reached
    if reached:
        assert events[-1].data["model"] == model
    else:
        assert events[-1].name == "error"
        assert "data:" in events[-1].data["detail"], "the remedy is named"


@pytest.mark.parametrize(("reported", "warned"), [(1_200, False), (300, True)])
async def test_an_image_that_takes_less_than_it_might_is_no_cut_prompt(
    lab: Laboratory, reported: int, warned: bool
) -> None:
    text = " ".join(f"word{i}" for i in range(300))
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    lab.provider.script(Reply(("a dot",), input_tokens=reported))
    events = await lab.chat(messages=[{"role": "user", "content": parts}], model="ollama/small")
    assert any("it cut the prompt" in warning for warning in events[-1].data["warnings"]) is warned
