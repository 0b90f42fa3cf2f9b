"""From a provider's bytes to payloads: lines across reads, server-sent events, and what ends an answer.

    bytes ──> Lines ──> payloads ──> Reader ──> [Chunk, ...]        readers: app.llm.readers

Nothing is skipped: a line that does not parse is a `BadChunk`, and a stream without its end mark a `ConnectionLost`.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import orjson

from app.errors import AttemptError, BadChunk, ConnectionLost, EmptyAnswer
from app.llm.calls import Chunk

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes. A line this long is no delta; without a bound a broken server could fill the memory."""

Payload: TypeAlias = dict[str, Any]


class Reader(Protocol):
    """One wire's reading of payloads, with what must be remembered between them.

    `finished`: the provider's own end mark was seen. `complete`: nothing more can follow.
    """

    finished: bool
    complete: bool

    def read(self, payload: Payload, out: list[Chunk]) -> None:
        """Append the payload's chunks. Raises `AttemptError` where the payload is an error or no such payload."""

    def flush(self, out: list[Chunk]) -> None:
        """Append what was held back; called at the end of the stream."""


class Lines:
    """Bytes to lines without their ends, across reads. Raises `BadChunk` for a line longer than `longest` bytes."""

    __slots__ = ("_longest", "_parts", "_size")

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        head, newline, tail = data.rpartition(b"\n")
        if not newline:
            self._hold(data)
            return []
        if self._parts:
            head = b"".join([*self._parts, head])
            self._parts, self._size = [], 0
        if tail:
            self._hold(tail)
        return head.split(b"\n")

    def rest(self) -> bytes:
        """What came after the last line end."""
        rest, self._parts, self._size = b"".join(self._parts), [], 0
        return rest

    def _hold(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._longest:
            raise BadChunk(f"a line of the answer is longer than {self._longest} bytes")


class StreamParser:
    """One answer's bytes as chunks, synchronously: `feed` every network read, `close` at the end of the body.

    Chunks that came before an error in the same read are returned first; the error is raised by the next call.
    `complete` says that no more need be read: the answer is whole, or has failed.
    """

    __slots__ = ("_failure", "_lines", "_reader", "_seen", "_sse")

    def __init__(self, reader: Reader, *, sse: bool) -> None:
        self._reader = reader
        self._sse = sse
        self._lines = Lines()
        self._failure: AttemptError | None = None
        self._seen = False

    @property
    def complete(self) -> bool:
        return self._failure is not None or self._reader.complete

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks whose last byte is in `data`. Raises `AttemptError`."""
        self._raise_failure()
        out: list[Chunk] = []
        try:
            for line in self._lines.feed(data):
                self._line(line, out)
        except AttemptError as error:
            self._failure = error
            if not out:
                raise
        self._seen = self._seen or bool(out)
        return out

    def close(self) -> list[Chunk]:
        """The last chunks. Raises `EmptyAnswer`, `ConnectionLost`, or the error that `feed` held back."""
        self._raise_failure()
        out: list[Chunk] = []
        if rest := self._lines.rest().strip():
            try:
                self._line(rest, out)
            except BadChunk as broken:
                raise ConnectionLost("the answer broke off in the middle of a line") from broken
        self._reader.flush(out)
        if not self._reader.finished:
            if not out and not self._seen:
                raise EmptyAnswer("the stream ended with neither content nor an end mark")
            self._failure = ConnectionLost("the stream ended without the provider's end mark")
            if not out:
                raise self._failure
        return out

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _line(self, line: bytes, out: list[Chunk]) -> None:
        payload = self._payload(line) if self._sse else line.strip()
        if not payload:
            return
        if payload == b"[DONE]":
            self._reader.complete = True
            return
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError:
            raise BadChunk(f"a line of the answer is not JSON ({len(payload)} bytes)") from None
        if type(value) is not dict:
            raise BadChunk(f"a line of the answer is a JSON {type(value).__name__}, not an object")
        try:
            self._reader.read(value, out)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise BadChunk(f"a line of the answer has an unknown shape ({type(error).__name__})") from error

    def _payload(self, line: bytes) -> bytes:
        """The data of a server-sent-events line; empty for its other fields and its comments."""
        if line.startswith(b"data:"):
            return line[5:].strip()
        line = line.strip()
        if not line or line.startswith((b":", b"event:", b"id:", b"retry:")):
            return b""
        return line  # a server that answers 200 with a bare JSON error, or with a page: parsed, or refused, as such
