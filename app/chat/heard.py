"""What came of a request's stream: the part of an answer that is worth remembering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.chat.records import NewMessage
from app.llm.calls import TextDelta, ToolCallDelta
from app.llm.events import Done, Event, Failed


class Heard:
    """Takes batches of events as they pass."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self.end: Done | Failed | None = None

    def take(self, batch: Sequence[Event]) -> None:
        for event in batch:
            if type(event) is TextDelta:
                self._texts.append(event.text)
            elif type(event) is ToolCallDelta:
                self._add_call(event)
            elif isinstance(event, (Done, Failed)):
                self.end = event

    @property
    def anything(self) -> bool:
        """Whether there is an answer, or a part of one."""
        return bool(self._texts or self._calls)

    def messages(self, asked: Sequence[Mapping[str, Any]], asked_at: datetime, request_id: str) -> list[NewMessage]:
        """The question and the answer, partial where it did not end as the model meant it to."""
        answer: dict[str, Any] = {"role": "assistant", "content": "".join(self._texts) or None}
        if self._calls:
            answer["tool_calls"] = [self._calls[index] for index in sorted(self._calls)]
        partial = not isinstance(self.end, Done)
        questions = [NewMessage(message, asked_at, request_id=request_id) for message in asked]
        return [*questions, NewMessage(answer, None, partial, request_id)]

    def _add_call(self, delta: ToolCallDelta) -> None:
        empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call = self._calls.setdefault(delta.index, empty)
        call["id"] = delta.id or call["id"]
        call["function"]["name"] = delta.name or call["function"]["name"]
        call["function"]["arguments"] += delta.arguments
