"""Our own quick parsing of plain deltas, one reader per wire.

    payload ──> Reader ──> [Chunk, ...]
                  └─ what is unusual ──> litellm's parser (passed in by translate.py)

A line costs litellm about 50 µs and us about 3, and nearly every line of a stream is one plain delta. So the readers
here know plain text and plain reasoning, the end marks and the usage of the great wires; tool calls and everything
they do not recognise go to `unusual`, which is litellm's own `chunk_parser` for the provider.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from app.errors import AttemptError, BadChunk
from app.llm.calls import Chunk, Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage, new_call_id
from app.llm.wires import Payload

Unusual: TypeAlias = Callable[[Payload], list[Chunk]]
"""litellm's parsing of one payload. Raises `AttemptError`s only."""
FailureOf: TypeAlias = Callable[[Payload], AttemptError]
"""An error object that came inside a 200 stream, as one of our errors."""

FINISH_REASONS: Mapping[str, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    # OpenAI before tools, Ollama, Anthropic
    "function_call": "tool_calls",
    "load": "stop",
    "unload": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class Thinking:
    """Text that begins with `<think>` is reasoning until `</think>`, wherever the tags are cut.

    Only at the very beginning of an answer: further on, the tag may be what the answer is about.
    """

    __slots__ = ("_held", "_state")
    OPEN, CLOSE = "<think>", "</think>"

    def __init__(self) -> None:
        self._state = "start"
        self._held = ""

    def text(self, text: str, out: list[Chunk]) -> None:
        if self._state == "answer":
            out.append(TextDelta(text))
        elif self._state == "start":
            self._start(self._held + text, out)
        elif self._state == "thinking":
            self._think(self._held + text, out)
        else:
            self._answer(text, out)

    def flush(self, out: list[Chunk]) -> None:
        """What was held back because a tag could still have come of it."""
        if self._held:
            out.append(ReasoningDelta(self._held) if self._state == "thinking" else TextDelta(self._held))
            self._held = ""

    def _start(self, text: str, out: list[Chunk]) -> None:
        begun = text.lstrip()
        self._held = ""
        if begun.startswith(self.OPEN):
            self._state = "thinking"
            self._think(begun[len(self.OPEN) :], out)
        elif self.OPEN.startswith(begun):
            self._held = text
        else:
            self._state = "answer"
            out.append(TextDelta(text))

    def _think(self, text: str, out: list[Chunk]) -> None:
        thought, closed, answer = text.partition(self.CLOSE)
        self._held = ""
        if closed:
            self._state = "closed"
        else:
            self._held = _beginning_of(self.CLOSE, thought)
            thought = thought[: len(thought) - len(self._held)]
        if thought:
            out.append(ReasoningDelta(thought))
        if answer:
            self._answer(answer, out)

    def _answer(self, text: str, out: list[Chunk]) -> None:
        """The first text after the thinking, without the blank lines that set it off."""
        if begun := text.lstrip():
            self._state = "answer"
            out.append(TextDelta(begun))


def _beginning_of(tag: str, text: str) -> str:
    """The longest end of `text` that could be the beginning of `tag`."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:size]):
            return tag[:size]
    return ""


class OllamaReader:
    """Ollama's `/api/chat`: one JSON object per line, the last with `done: true`, the reason and the counts."""

    def __init__(self, unusual: Unusual, failure: FailureOf) -> None:
        self.finished = self.complete = False
        self._unusual = unusual
        self._failure = failure
        self._thinking = Thinking()
        self._tools_called = 0

    def read(self, payload: Payload, out: list[Chunk]) -> None:
        if payload.get("error"):
            raise self._failure(payload)
        message = payload.get("message") or {}
        if message.get("tool_calls"):
            self._tool_calls(payload, out)
        else:
            if reasoning := message.get("thinking"):
                out.append(ReasoningDelta(_text(reasoning)))
            if text := message.get("content"):
                self._thinking.text(_text(text), out)
        if payload["done"] is True:
            self._end(payload, out)

    def _tool_calls(self, payload: Payload, out: list[Chunk]) -> None:
        """Ollama sends each call whole and unnumbered, and several in one line or in several."""
        for chunk in self._unusual({**payload, "done": False}):
            if isinstance(chunk, ToolCallDelta):
                index, self._tools_called = self._tools_called, self._tools_called + 1
                out.append(replace(chunk, index=index, id=chunk.id or new_call_id()))
            elif isinstance(chunk, TextDelta):
                self._thinking.text(chunk.text, out)
            elif isinstance(chunk, ReasoningDelta):
                out.append(chunk)

    def _end(self, payload: Payload, out: list[Chunk]) -> None:
        self._thinking.flush(out)
        self.finished = self.complete = True
        reason = payload.get("done_reason") or "stop"
        out.append(Finish("tool_calls" if self._tools_called else FINISH_REASONS.get(reason, reason)))
        sent, written = payload.get("prompt_eval_count"), payload.get("eval_count")
        if sent is not None or written is not None:
            out.append(Usage(count(sent), count(written)))

    def flush(self, out: list[Chunk]) -> None:
        self._thinking.flush(out)


PLAIN = frozenset({"role", "content", "reasoning_content", "reasoning"})
"""Members of a delta that need no litellm, where they are text."""


class OpenAIReader:
    """OpenAI's chat completions, as a dozen servers speak them: deltas, a finish reason, usage, `[DONE]`.

    `plain_usage`: the provider counts as OpenAI does; else its usage goes to `unusual` too.
    """

    def __init__(self, unusual: Unusual, failure: FailureOf, *, plain_usage: bool = True) -> None:
        self.finished = self.complete = False
        self._unusual = unusual
        self._failure = failure
        self._plain_usage = plain_usage
        self._thinking = Thinking()

    def read(self, payload: Payload, out: list[Chunk]) -> None:
        if payload.get("error"):
            raise self._failure(payload)
        choices, usage = payload.get("choices"), payload.get("usage")
        if choices is None and usage is None:
            raise BadChunk("a line of the answer has neither choices nor usage")
        if len(choices or ()) > 1 or (usage and not self._plain_usage):
            self._take(payload, out)
            return
        if choices:
            delta = choices[0].get("delta") or {}
            if self._is_plain(delta):
                self._delta(delta, out)
                if reason := choices[0].get("finish_reason"):
                    self._finish(FINISH_REASONS.get(reason, reason), out)
            else:
                self._take({**payload, "usage": None}, out)
        if usage:
            out.append(openai_usage(usage))

    def _is_plain(self, delta: Payload) -> bool:
        for name, value in delta.items():  # noqa: SIM110 `all` over a generator costs three times as much
            if value and (name not in PLAIN or type(value) is not str):
                return False
        return True

    def _delta(self, delta: Payload, out: list[Chunk]) -> None:
        if text := delta.get("content"):
            self._thinking.text(_text(text), out)
        elif reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
            out.append(ReasoningDelta(_text(reasoning)))

    def _take(self, payload: Payload, out: list[Chunk]) -> None:
        """A payload as litellm reads it; its text still passes the search for `<think>`."""
        for chunk in self._unusual(payload):
            if isinstance(chunk, TextDelta):
                self._thinking.text(chunk.text, out)
            elif isinstance(chunk, Finish):
                self._finish(chunk.reason, out)
            else:
                out.append(chunk)

    def _finish(self, reason: str, out: list[Chunk]) -> None:
        if not self.finished:
            self.finished = True
            self._thinking.flush(out)
            out.append(Finish(reason))

    def flush(self, out: list[Chunk]) -> None:
        self._thinking.flush(out)


class AnthropicReader:
    """Anthropic's messages: blocks between `message_start` and `message_stop`, counts at both ends.

    `finish_override` gives the finish reason where litellm's parser knows better (JSON answers ride on a tool call).
    """

    def __init__(self, unusual: Unusual, failure: FailureOf, finish_override: Callable[[], str | None]) -> None:
        self.finished = self.complete = False
        self._unusual = unusual
        self._failure = failure
        self._finish_override = finish_override
        self._counts: Payload = {}

    def read(self, payload: Payload, out: list[Chunk]) -> None:
        kind = payload.get("type")
        if kind == "content_block_delta" and payload["delta"].get("type") == "text_delta":
            if text := payload["delta"]["text"]:
                out.append(TextDelta(_text(text)))
        elif kind == "message_start":
            self._usage(payload["message"].get("usage"), out)
        elif kind == "message_delta":
            if reason := payload["delta"].get("stop_reason"):
                out.append(Finish(self._finish_override() or FINISH_REASONS.get(reason, reason)))
            self._usage(payload.get("usage"), out)
        elif kind == "message_stop":
            self.finished = self.complete = True
        elif kind == "error" or payload.get("error"):
            raise self._failure(payload)
        elif kind != "ping":
            out += [c for c in self._unusual(payload) if not isinstance(c, (Finish, Usage))]

    def _usage(self, counts: Payload | None, out: list[Chunk]) -> None:
        """The counts of `message_delta` go on from those of `message_start` and leave out what has not changed.

        Anthropic counts what came from the cache, and what was written to it, apart from `input_tokens`.
        """
        if not counts:
            return
        self._counts |= {name: value for name, value in counts.items() if value is not None}
        fresh, written = self._counts.get("input_tokens"), self._counts.get("cache_creation_input_tokens")
        cached = self._counts.get("cache_read_input_tokens")
        sent = None if fresh is None else count(fresh) + (count(cached) or 0) + (count(written) or 0)
        out.append(Usage(sent, count(self._counts.get("output_tokens")), count(cached), count(written)))

    def flush(self, out: list[Chunk]) -> None:
        pass


class TranslatedReader:
    """A wire read by litellm alone, finished by its own finish reason or by `end_mark` in the raw payload."""

    def __init__(self, unusual: Unusual, failure: FailureOf, end_mark: Callable[[Payload], bool] | None = None) -> None:
        self.finished = self.complete = False
        self._unusual = unusual
        self._failure = failure
        self._end_mark = end_mark
        self._usage: Usage | None = None

    def read(self, payload: Payload, out: list[Chunk]) -> None:
        if payload.get("error"):
            raise self._failure(payload)
        ends = self._end_mark(payload) if self._end_mark else True
        for chunk in self._unusual(payload):
            if isinstance(chunk, Finish):
                if not ends or self.finished:
                    continue
                self.finished = True
            elif isinstance(chunk, Usage):
                if chunk == self._usage:
                    continue
                self._usage = chunk
            out.append(chunk)

    def flush(self, out: list[Chunk]) -> None:
        pass


def gemini_end_mark(payload: Payload) -> bool:
    """Gemini's own end: a finish reason, or a prompt it blocked. litellm says `stop` on every chunk."""
    if (payload.get("promptFeedback") or {}).get("blockReason"):
        return True
    return any(candidate.get("finishReason") for candidate in payload.get("candidates") or ())


def openai_usage(usage: Mapping[str, Any]) -> Usage:
    """Usage in OpenAI's words; DeepSeek's name for the cached ones is understood too."""
    sent, written = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    cached = sent.get("cached_tokens")
    return Usage(
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        cached_input_tokens=count(usage.get("prompt_cache_hit_tokens") if cached is None else cached),
        reasoning_tokens=count(written.get("reasoning_tokens")),
    )


def _text(value: object) -> str:
    if type(value) is not str:
        raise BadChunk(f"a delta of the answer is a {type(value).__name__}, not text")
    return value


MOST_TOKENS: Final = 10**9
"""Of one call: a hundred times the largest window there is."""


def count(value: object) -> Any:
    """A token count, None where it was not given. Raises `BadChunk` for anything but a natural number a call can have:
    one that no column of the ledger holds would lose the row.
    """
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= MOST_TOKENS:
        raise BadChunk(f"a token count of the answer is no number of tokens: {str(value)[:20]!r}")
    return value
