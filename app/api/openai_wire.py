"""Answers in OpenAI's shapes: chunks of a stream, and whole completions.

    [TextDelta, TextDelta, Done] ──> data: {"choices":[{"delta":{"content":"…"}}]} … data: [DONE]

A stream says nothing until the model does: what fails before is an HTTP status, as OpenAI's own server does it. The
texts of one network read become one chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from app.api.dialects import openai_error
from app.api.json_text import Json, dumps
from app.llm.calls import ReasoningDelta, TextDelta, ToolCallDelta, new_call_id
from app.llm.events import ContextBuilt, Done, Event, Failed

DONE: Final = b"data: [DONE]\n\n"
FINISH: Final[Mapping[str, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}


def finish_reason(end: Done, called: bool) -> str:
    """OpenAI's word for the end. Some servers say `stop` after a tool call, where clients wait for `tool_calls`."""
    reason = FINISH.get(end.finish_reason, "stop")
    return "tool_calls" if called and reason == "stop" else reason


def usage_data(end: Done) -> Json:
    return {
        "prompt_tokens": end.input_tokens,
        "completion_tokens": end.output_tokens,
        "total_tokens": end.input_tokens + end.output_tokens,
    }


def tool_call_data(delta: ToolCallDelta) -> Json:
    """A part of a tool call; its id, type and name come with the first."""
    function: Json = {"arguments": delta.arguments}
    if delta.name is not None:
        function = {"name": delta.name, **function}
    head: Json = {"index": delta.index}
    if delta.id is not None or delta.name is not None:
        head |= {"id": call_id(delta), "type": "function"}
    return {**head, "function": function}


def call_id(delta: ToolCallDelta) -> str:
    """Clients answer by it, so that a call of a server that gives none gets one."""
    return delta.id or new_call_id()


class ChatChunks:
    """Encoder of a chat completion's stream. `created`: Unix seconds."""

    __slots__ = ("_called", "_created", "_head", "_id", "_model", "_tail", "_usage")

    def __init__(self, request_id: str, created: int, *, include_usage: bool) -> None:
        self._id = f"chatcmpl-{request_id}"
        self._created = created
        self._model = ""
        self._usage = include_usage
        self._called = False
        self._head = b""
        # With include_usage every chunk has the member, null but in the last.
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"

    def encode(self, batch: list[Event]) -> bytes:
        parts: list[bytes] = []
        texts: list[str] = []
        for event in batch:
            if type(event) is TextDelta:
                texts.append(event.text)
                continue
            if texts:
                parts.append(self._delta({"content": "".join(texts)}))
                texts = []
            self._other(event, parts)
        if texts:
            parts.append(self._delta({"content": "".join(texts)}))
        return b"".join(parts)

    def _other(self, event: Event, parts: list[bytes]) -> None:
        if isinstance(event, ContextBuilt):
            self._model = event.window.model
        elif isinstance(event, ReasoningDelta):
            # Not in OpenAI's own API; DeepSeek's word, which vLLM, LiteLLM, Open WebUI and Continue share.
            parts.append(self._delta({"reasoning_content": event.text}))
        elif isinstance(event, ToolCallDelta):
            self._called = True
            parts.append(self._delta({"tool_calls": [tool_call_data(event)]}))
        elif isinstance(event, Done):
            parts.append(self._delta({}, finish_reason(event, self._called)))
            if self._usage:
                end = {"id": self._id, **self._constant(), "choices": [], "usage": usage_data(event)}
                parts.append(b"data: " + dumps(end) + b"\n\n")
            parts.append(DONE)
        elif isinstance(event, Failed):
            parts.append(b"data: " + dumps(openai_error(event.error)) + b"\n\n")

    def _constant(self) -> Json:
        return {"object": "chat.completion.chunk", "created": self._created, "model": self._model}

    def _delta(self, delta: Json, finish: str | None = None) -> bytes:
        first = b""
        if not self._head:
            head = dumps({"id": self._id, **self._constant()})
            self._head = b"data: " + head[:-1] + b',"choices":[{"index":0,"delta":'
            first = self._chunk({"role": "assistant", "content": ""}, None)
        return first + self._chunk(delta, finish)

    def _chunk(self, delta: Json, finish: str | None) -> bytes:
        end = b"null" if finish is None else dumps(finish)
        return self._head + dumps(delta) + b',"logprobs":null,"finish_reason":' + end + b"}]" + self._tail


class Drained:
    """A whole answer: feed it every batch. `end` raises the `SidecarError` the stream ended with."""

    def __init__(self) -> None:
        self.model = ""
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._end: Done | Failed | None = None

    def take(self, batch: list[Event]) -> None:
        for event in batch:
            if isinstance(event, TextDelta):
                self._texts.append(event.text)
            elif isinstance(event, ReasoningDelta):
                self._reasoning.append(event.text)
            elif isinstance(event, ToolCallDelta):
                call = self._calls.setdefault(event.index, {"id": call_id(event), "name": "", "arguments": ""})
                call["id"] = event.id or call["id"]
                call["name"] = event.name or call["name"]
                call["arguments"] += event.arguments
            elif isinstance(event, ContextBuilt):
                self.model = event.window.model
            elif isinstance(event, (Done, Failed)):
                self._end = event

    @property
    def text(self) -> str:
        return "".join(self._texts)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """`{id, name, arguments}` in order."""
        return [self._calls[index] for index in sorted(self._calls)]

    @property
    def end(self) -> Done:
        if isinstance(self._end, Failed):
            raise self._end.error
        if self._end is None:
            raise AssertionError("a stream ends with Done or Failed")
        return self._end


class ChatCompletion(Drained):
    """Collector of a chat completion."""

    def __init__(self, request_id: str, created: int) -> None:
        super().__init__()
        self._id = f"chatcmpl-{request_id}"
        self._created = created

    def body(self) -> Json:
        end, calls = self.end, self.calls
        message: Json = {"role": "assistant", "content": self.text or (None if calls else ""), "refusal": None}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if calls:
            message["tool_calls"] = [
                {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
                for c in calls
            ]
        finish = finish_reason(end, bool(calls))
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self.model,
            "choices": [choice],
            "usage": usage_data(end),
        }


class TextChunks:
    """Encoder of a (text) completion's stream."""

    __slots__ = ("_created", "_head", "_id", "_model", "_tail", "_usage")

    def __init__(self, request_id: str, created: int, *, include_usage: bool) -> None:
        self._id = f"cmpl-{request_id}"
        self._created = created
        self._model = ""
        self._usage = include_usage
        self._head = b""
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"

    def encode(self, batch: list[Event]) -> bytes:
        parts: list[bytes] = []
        if texts := [event.text for event in batch if type(event) is TextDelta]:
            parts.append(self._chunk("".join(texts)))
        for event in batch:
            if isinstance(event, ContextBuilt):
                self._model = event.window.model
            elif isinstance(event, Done):
                parts.append(self._chunk("", FINISH.get(event.finish_reason, "stop")))
                if self._usage:
                    end = {**self._constant(), "choices": [], "usage": usage_data(event)}
                    parts.append(b"data: " + dumps(end) + b"\n\n")
                parts.append(DONE)
            elif isinstance(event, Failed):
                parts.append(b"data: " + dumps(openai_error(event.error)) + b"\n\n")
        return b"".join(parts)

    def _constant(self) -> Json:
        return {"id": self._id, "object": "text_completion", "created": self._created, "model": self._model}

    def _chunk(self, text: str, finish: str | None = None) -> bytes:
        if not self._head:
            self._head = b"data: " + dumps(self._constant())[:-1] + b',"choices":[{"index":0,"text":'
        end = b"null" if finish is None else dumps(finish)
        return self._head + dumps(text) + b',"logprobs":null,"finish_reason":' + end + b"}]" + self._tail


class TextCompletion(Drained):
    """Collector of a (text) completion."""

    def __init__(self, request_id: str, created: int) -> None:
        super().__init__()
        self._id = f"cmpl-{request_id}"
        self._created = created

    def body(self) -> Json:
        end = self.end
        choice = {"index": 0, "text": self.text, "logprobs": None, "finish_reason": finish_reason(end, False)}
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self.model,
            "choices": [choice],
            "usage": usage_data(end),
        }
