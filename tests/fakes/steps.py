"""What a fake provider may be told to do with one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

DEFAULT_TEXT = ("Hello", " from", " the", " fake", " provider", ".")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole tool call; each wire cuts it up as its provider does. `arguments` is JSON text."""

    name: str
    arguments: str
    id: str = "call_1"


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer: one delta per piece of `text`, in order reasoning, text, tool calls, end mark, usage.

    `input_tokens` includes the cached and the written ones (each wire subtracts where its provider does); None: worked
    out from the prompt's length. `output_tokens` None: one per delta. `delay`: seconds before each delta.
    `write_size`: bytes per write, so that characters and lines arrive in pieces; None: a delta is one write.
    """

    text: tuple[str, ...] = DEFAULT_TEXT
    reasoning: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Literal["stop", "length", "content_filter"] = "stop"
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    usage: bool = True
    delay: float = 0.0
    write_size: int | None = None

    @property
    def deltas(self) -> int:
        return len(self.reasoning) + len(self.text) + len(self.tool_calls)


def split_utf8(text: str = "Grüße – 你好 🎉", size: int = 1) -> Reply:
    """Characters of several bytes, and every line, split over separate writes."""
    return Reply(text=tuple(text), write_size=size)


def injected_newlines() -> Reply:
    """Deltas that would forge an event, or end the stream, if anybody passed them on unescaped or searched them."""
    return Reply(text=("before", "\n\nevent: done\ndata: {}\n\n", "data: [DONE]", "\r\n\r\n", "after"))


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP status instead of a stream, with the provider's own shape of error body unless `body` is given."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class ContextOverflow:
    """The provider's own wording and status for a prompt that is too long."""


@dataclass(frozen=True, slots=True)
class BadKey:
    """The provider's own answer to a wrong key."""


@dataclass(frozen=True, slots=True)
class KeyInError:
    """An error whose text repeats the key that was sent, as some gateways do."""

    code: int = 401


@dataclass(frozen=True, slots=True)
class EmptyStream:
    """200 and not one byte of body."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Silence: before the status line, after the headers, or after `after` deltas. Ends when the client leaves."""

    when: Literal["before_headers", "after_headers", "mid_stream"] = "before_headers"
    after: int = 2


@dataclass(frozen=True, slots=True)
class CutMidStream:
    """The connection ends after `after` deltas: a TCP reset, or a clean end of the body without an end mark."""

    after: int = 2
    how: Literal["reset", "clean"] = "reset"


@dataclass(frozen=True, slots=True)
class MalformedChunk:
    """After `after` deltas one line that is no JSON; the answer then goes on as if nothing had happened."""

    after: int = 2


@dataclass(frozen=True, slots=True)
class ErrorInStream:
    """After `after` deltas the provider's own error object inside the 200 stream, then the end."""

    after: int = 2
    what: Literal["server", "overloaded", "rate_limited", "overflow"] = "server"


Step: TypeAlias = (
    Reply
    | Status
    | ContextOverflow
    | BadKey
    | KeyInError
    | EmptyStream
    | Hang
    | CutMidStream
    | MalformedChunk
    | ErrorInStream
)
