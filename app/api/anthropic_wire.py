"""Answers in Anthropic's shapes: the events of a stream, and whole messages.

    message_start ─ ping ─┬─ content_block_start ─ content_block_delta … ─ content_block_stop ─┬─ message_delta ─ …_stop
                          └──────────────── once for each block of the answer ─────────────────┘

`message_start` waits for the model's first word: what fails before is an HTTP status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from app.api.dialects import anthropic_error
from app.api.json_text import Json, dumps
from app.api.openai_wire import Drained, call_id
from app.llm.calls import ReasoningDelta, TextDelta, ToolCallDelta
from app.llm.events import ContextBuilt, Done, Event, Failed

STOP_REASONS: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def stop_reason(end: Done, called: bool) -> str:
    """Anthropic's word for the end. Which stop sequence it was no provider but Anthropic tells: `end_turn` then."""
    reason = STOP_REASONS.get(end.finish_reason, "end_turn")
    return "tool_use" if called and reason == "end_turn" else reason


class MessageEvents:
    """Encoder of a message's stream. `thinking`: also what the model thinks aloud."""

    def __init__(self, request_id: str, *, thinking: bool) -> None:
        self._id = f"msg_{request_id}"
        self._request_id = request_id
        self._thinking = thinking
        self._model = ""
        self._counted = 0
        self._begun = False
        self._index = -1
        self._open: object = None
        """The kind of the open block, or the tool call's index; None: no block is open."""
        self._called = False

    def encode(self, batch: list[Event]) -> bytes:
        parts: list[bytes] = []
        texts: list[str] = []
        for event in batch:
            if type(event) is TextDelta:
                texts.append(event.text)
                continue
            self._texts(texts, parts)
            self._other(event, parts)
        self._texts(texts, parts)
        return b"".join(parts)

    def _texts(self, texts: list[str], parts: list[bytes]) -> None:
        if texts:
            self._block("text", {"type": "text", "text": ""}, parts)
            parts.append(self._delta({"type": "text_delta", "text": "".join(texts)}))
            texts.clear()

    def _other(self, event: Event, parts: list[bytes]) -> None:
        if isinstance(event, ContextBuilt):
            self._model, self._counted = event.window.model, event.window.input_tokens
        elif isinstance(event, ReasoningDelta) and self._thinking:
            self._block("thinking", {"type": "thinking", "thinking": "", "signature": ""}, parts)
            parts.append(self._delta({"type": "thinking_delta", "thinking": event.text}))
        elif isinstance(event, ToolCallDelta):
            self._called = True
            block = {"type": "tool_use", "id": call_id(event), "name": event.name or "", "input": {}}
            self._block(event.index, block, parts)
            parts.append(self._delta({"type": "input_json_delta", "partial_json": event.arguments}))
        elif isinstance(event, Done):
            self._begin(parts)
            self._close(parts)
            delta = {"stop_reason": stop_reason(event, self._called), "stop_sequence": None}
            usage = {"input_tokens": event.input_tokens, "output_tokens": event.output_tokens}
            parts.append(_event("message_delta", delta=delta, usage=usage))
            parts.append(_event("message_stop"))
        elif isinstance(event, Failed):
            said = anthropic_error(event.error, self._request_id)
            parts.append(b"event: error\ndata: " + dumps(said) + b"\n\n")

    def _begin(self, parts: list[bytes]) -> None:
        if self._begun:
            return
        self._begun = True
        head: Json = {"id": self._id, "type": "message", "role": "assistant", "model": self._model, "content": []}
        usage = {"input_tokens": self._counted, "output_tokens": 0}
        start = {**head, "stop_reason": None, "stop_sequence": None, "usage": usage}
        parts += [_event("message_start", message=start), _event("ping")]

    def _block(self, kind: object, block: Json, parts: list[bytes]) -> None:
        """Go on in the block that is open, or close it and open this one."""
        self._begin(parts)
        if self._open == kind:
            return
        self._close(parts)
        self._open = kind
        self._index += 1
        parts.append(_event("content_block_start", index=self._index, content_block=block))

    def _close(self, parts: list[bytes]) -> None:
        if self._open is not None:
            parts.append(_event("content_block_stop", index=self._index))
            self._open = None

    def _delta(self, delta: Json) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)


def _event(name: str, **data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps({"type": name, **data}))


class WholeMessage(Drained):
    """Collector of a message."""

    def __init__(self, request_id: str, *, thinking: bool) -> None:
        super().__init__()
        self._id = f"msg_{request_id}"
        self._thinking = thinking

    def body(self) -> Json:
        end, calls = self.end, self.calls
        content: list[Json] = []
        if self.reasoning and self._thinking:
            content.append({"type": "thinking", "thinking": self.reasoning, "signature": ""})
        if self.text:
            content.append({"type": "text", "text": self.text})
        content += [
            {"type": "tool_use", "id": c["id"], "name": c["name"], "input": _arguments(c["arguments"])} for c in calls
        ]
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason(end, bool(calls)),
            "stop_sequence": None,
            "usage": {"input_tokens": end.input_tokens, "output_tokens": end.output_tokens},
        }


def _arguments(text: str) -> Json:
    """A call's arguments as the object they should be. A model that wrote none, or no JSON, called with nothing."""
    try:
        value = orjson.loads(text or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
