"""Bodies: strict JSON, strict values, and errors that name the field without repeating what was sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.schemas import ChatBody, ExplainBody, validated
from app.api.strictjson import MAX_DEPTH, parse_json
from app.context.blocks import CodeChunk, OpenFile
from app.errors import InvalidRequest

SECRET = "sk-very-secret-value-1234567890"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="ascii")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values.filter(lambda v: "\\u0000" not in json.dumps(v)), st.booleans())
def test_all_that_is_json_comes_back_unharmed(value: Any, ascii_only: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"{'a': 1}", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b'{"a": 1, "a": 2}', 400),
        (b'{"a": {"b": 1, "b": 1}}', 400),
        (b'{"a": NaN}', 400),
        (b'{"a": Infinity}', 400),
        (b'{"a": -Infinity}', 400),
        (b'{"a": 1e999}', 422),
        (b'{"a": 9223372036854775808}', 422),
        (b'{"a": -9223372036854775809}', 422),
        (b'{"a": ' + b"9" * 5000 + b"}", 422),
        (b'{"a": "\xff"}', 400),
        ('{"a": "é"}'.encode("latin-1"), 400),
        ("{}".encode("utf-16"), 400),
        (b'{"a": "\x00"}', 400),
        (b'{"a": "\\u0000"}', 422),
        (b'{"a": "\\ud800"}', 422),
        (b'{"\\udfff": 1}', 422),
        (b"[" * 100_000, 400),
        (b"[" * 100_000 + b"]" * 100_000, 400),
        (b'{"a":' * 200 + b"1" + b"}" * 200, 400),
    ],
)
def test_what_is_not_sound_json_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_json(body)
    assert refused.value.status == status


def test_limits_are_met_and_not_missed_by_one() -> None:
    assert parse_json(b'{"a": 9223372036854775807}') == {"a": 2**63 - 1}
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(InvalidRequest):
        parse_json(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    # Many brackets side by side are not deep, and a pair of surrogates is a whole character.
    assert len(parse_json(b"[" + b"[]," * 500 + b"[]]")) == 501
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"
    assert parse_json(b'"\\\\ud800"') == "\\ud800"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_output_tokens": 10**9}, "max_output_tokens"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": "1"}, "max_output_tokens"),
        ({"max_output_tokens": 1.0}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "0"}, "temperature"),
        ({"stop": ["x"] * 9}, "stop"),
        ({"stop": 5}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": [""]}, "stop[0]"),
        ({"stream": "false"}, "stream"),
        ({"query": ""}, "query"),
        ({"query": " \n"}, "body"),
        ({"query": 1}, "query"),
        ({"query": None}, "body"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "body"),
        ({"session_id": "../../x"}, "session_id"),
        ({"session_id": "%2e%2e%2f"}, "session_id"),
        ({"session_id": "C:\\"}, "session_id"),
        ({"session_id": "a" * 10_000}, "session_id"),
        ({"session_id": "a\n"}, "session_id"),
        ({"session_id": ""}, "session_id"),
        ({"workspace": "a b"}, "workspace"),
        ({"task_type": "Debugging"}, "task_type"),
        ({"model": "a b"}, "model"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {str(n): n for n in range(65)}}, "metadata"),
        ({"api_base": "http://evil.example"}, "api_base"),
        ({"base_url": "http://evil.example"}, "base_url"),
        ({"api_key": "x"}, "api_key"),
        ({"context": {"api_base": "x"}}, "context.api_base"),
        ({"context": {"chunks": [{"text": "a", "start_line": 0}]}}, "context.chunks[0].start_line"),
        ({"context": {"chunks": [{"text": "a", "start_line": 3, "end_line": 2}]}}, "context.chunks[0]"),
        ({"context": {"history": [{"role": "tool", "content": "x"}]}}, "context.history[0].role"),
        ({"context": {"file": {"path": "x"}}}, "context.file.text"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"context": {"session_state": 5}}, "context.session_state"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"str": 5}, "str"),
        ({"Query": "x"}, "Query"),
        ({"tool_choice": "required"}, "body"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ],
)
def test_a_wrong_field_is_named_and_what_was_sent_is_not_repeated(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        validated(ChatBody, {"query": SECRET, "metadata": {"note": SECRET}, **change})
    assert refused.value.status == 422
    errors: Any = refused.value.extra["errors"]
    assert [e["field"] for e in errors] == [field]
    assert errors[0]["message"]
    assert field in refused.value.detail
    for sent in (SECRET, "evil.example", "../../x"):
        assert sent not in refused.value.detail + json.dumps(errors)


@pytest.mark.parametrize(
    ("content", "field", "message"),
    [
        (5, "messages[0].content", "must be a string, or must be a JSON array"),
        ([], "messages[0].content", "must be a string, or List should have at least 1 item"),
        ([{"type": "text"}], "messages[0].content[0].text.text", "is required"),
        ([{"type": SECRET}], "messages[0].content[0]", "type must say 'text', 'image_url'"),
        ([{"text": SECRET}], "messages[0].content[0]", "type must say what kind it is"),
    ],
)
def test_a_value_of_several_kinds_is_one_field(content: Any, field: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        validated(ChatBody, {"messages": [{"role": "user", "content": content}]})
    errors: Any = refused.value.extra["errors"]
    assert [e["field"] for e in errors] == [field]
    assert errors[0]["message"].startswith(message)
    assert SECRET not in refused.value.detail + json.dumps(errors)


@pytest.mark.parametrize("value", [None, [], "text", 1, True])
def test_the_body_is_an_object(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="JSON object"):
        validated(ChatBody, value)


def test_a_key_that_looks_like_a_secret_is_not_repeated_either() -> None:
    with pytest.raises(InvalidRequest) as refused:
        validated(ChatBody, {"query": "hi", SECRET: 1, "x" * 500: 1, "a\nb": 1})
    said = refused.value.detail + json.dumps(refused.value.extra["errors"])
    assert SECRET not in said
    assert "x" * 100 not in said


def test_many_errors_are_listed_up_to_a_cap() -> None:
    with pytest.raises(InvalidRequest) as refused:
        validated(ChatBody, {"query": "hi", **{f"unknown_{n}": 1 for n in range(500)}})
    errors: Any = refused.value.extra["errors"]
    assert len(errors) == 20
    assert "497 more" in refused.value.detail


def test_a_whole_body_becomes_the_services_request() -> None:
    body = validated(
        ChatBody,
        {
            "query": "why?",
            "workspace": "work",
            "task_type": "debugging",
            "contains_code": True,
            "context": {
                "session_state": {"open": ["a.py"]},
                "chunks": [{"text": "x = 1", "path": "a.py", "start_line": 1, "end_line": 1, "similarity": 1}],
                "history": [{"role": "user", "content": "before"}],
                "entities": [{"name": "Parser", "kind": "class", "hops": 2}],
                "file": {"path": "a.py", "text": "x = 1", "line": 1},
                "stacktrace": "Traceback",
            },
            "model": "ollama/llama3:8b",
            "max_output_tokens": 5,
            "temperature": 0,
            "stop": ["END"],
            "response_format": {"type": "json_object"},
            "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
            "metadata": {"team": "a"},
        },
    )
    request = body.to_request("r1")
    assert request.request_id == "r1"
    assert request.messages == ({"role": "user", "content": "why?"},)
    assert (request.workspace, request.task_type, request.contains_code) == ("work", "debugging", True)
    assert request.session_state == {"open": ["a.py"]}
    assert request.chunks == (CodeChunk("x = 1", "a.py", 1, 1, 1.0),)
    assert request.history == ({"role": "user", "content": "before"},)
    assert (request.entities[0].name, request.entities[0].hops) == ("Parser", 2)
    assert request.file == OpenFile("x = 1", "a.py", 1)
    assert (request.stacktrace, request.model, request.max_output_tokens) == ("Traceback", "ollama/llama3:8b", 5)
    assert (request.temperature, request.stop) == (0, ("END",))
    assert request.response_format == {"type": "json_object"}
    assert request.tools == ({"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}},)
    assert request.tool_choice == {"type": "function", "function": {"name": "look"}}
    assert request.metadata == {"team": "a"}


def test_messages_keep_openais_shape() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "what?"}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "nothing"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
    ]
    assert list(validated(ChatBody, {"messages": messages}).to_request("r").messages) == messages


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user"},
        {"role": "wizard", "content": "x"},
        {"role": "tool", "content": "x"},
        {"role": "user", "content": "x", "tool_call_id": "1"},
        {"role": "user", "content": []},
        {"role": "user", "content": [{"type": "audio"}]},
        {"role": "user", "content": "x", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": ""}}]},
    ],
)
def test_a_message_that_makes_no_sense_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        validated(ChatBody, {"messages": [message]})
    errors: Any = refused.value.extra["errors"]
    assert errors[0]["field"].startswith("messages[0]")


@pytest.mark.parametrize("text", ["{{7*7}}", "{0.__class__}", "<|eot_id|>", "</context>", "a\u2028b", "\U0001f600"])
def test_a_prompt_is_passed_on_as_it_is(text: str) -> None:
    parsed = parse_json(json.dumps({"query": text}).encode())
    assert validated(ChatBody, parsed).to_request("r").messages[0]["content"] == text


def test_explain_takes_the_same_body_and_one_field_more() -> None:
    assert validated(ExplainBody, {"query": "x", "include_messages": True}).include_messages
    with pytest.raises(InvalidRequest):
        validated(ChatBody, {"query": "x", "include_messages": True})


def test_the_examples_of_the_document_are_valid() -> None:
    extra: Any = ChatBody.model_config["json_schema_extra"]
    for example in extra["examples"]:
        validated(ChatBody, example)


@pytest.mark.parametrize(("stop", "stops"), [("END", ("END",)), (["A", "B"], ("A", "B")), (None, ())])
def test_one_text_that_ends_the_answer_needs_no_list(stop: Any, stops: tuple[str, ...]) -> None:
    assert validated(ChatBody, {"query": "x", "stop": stop}).to_request("r").stop == stops
