"""One YAML file: bytes -> plain data with the line of every key, or the problems found.

Less than YAML allows, on purpose. Tags are refused, so no `!!python/object` is ever looked at; aliases are counted as
what they expand to, so a bomb ends at once; depth is bounded; duplicate keys, merge keys and second documents are
refused. Plain scalars are read as YAML 1.2 does (`no` is a text, not false; `18:00` is no number).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from app.errors import ConfigProblem

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 50_000
"""Nodes after expansion of aliases: some 2,000 rules, read in 0.1 s."""

KeyPath: TypeAlias = tuple[str | int, ...]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where the wheel has it: 15 times faster

# The core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), without .inf and .nan.
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_TRUE = re.compile(r"(?:true|True|TRUE)\Z")
_FALSE = re.compile(r"(?:false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_LONGEST_NUMBER = 40
_QUOTE = "; a text that begins like this must be quoted"


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A file that could be read. `lines`: key path to 1-based line; `raw` is what the fingerprint is made of."""

    name: str
    data: Any
    raw: bytes
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def line_of(self, path: KeyPath) -> int | None:
        """The line of `path`, or of its nearest ancestor that has one."""
        for length in range(len(path), -1, -1):
            if (line := self.lines.get(path[:length])) is not None:
                return line
        return None


class YamlRefused(Exception):
    """The file cannot be used at all; `problems` say why."""

    def __init__(self, problems: list[ConfigProblem]) -> None:
        super().__init__("; ".join(str(p) for p in problems))
        self.problems = problems


def read(path: Path) -> YamlFile:
    """Read one file. Raises `YamlRefused`, and `FileNotFoundError` where there is none."""
    raw = _read_bytes(path)
    return parse(path.name, raw)


def parse(name: str, raw: bytes) -> YamlFile:
    """The same from bytes; `name` is what problems call the file. Raises `YamlRefused`."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _refused(name, "is not UTF-8; save the file as UTF-8", line) from None
    reader = _Reader(name, text)
    return YamlFile(name, reader.document(), raw, reader.lines)


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _refused(path.name, f"cannot be read: {error.strerror or type(error).__name__}") from None
    if len(raw) > MAX_BYTES:
        raise _refused(path.name, f"is larger than {MAX_BYTES:,} bytes")
    return raw


def _refused(name: str, message: str, line: int | None = None, where: str = "") -> YamlRefused:
    return YamlRefused([ConfigProblem(name, where, message, line)])


def show_path(path: KeyPath) -> str:
    """`("rules", 2, "model")` as people write it: `rules[2].model`."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            out += f".{part}" if out else part
    return out


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _Reader:
    """Builds the data from the parser's events, so that every limit is checked before anything is built."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._events: Iterator[Event] = iter(yaml.parse(text, Loader=_Loader))
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self._duplicates: list[ConfigProblem] = []

    def document(self) -> Any:
        """The file's one document; None for an empty file."""
        try:
            data = self._document()
        except yaml.MarkedYAMLError as error:
            raise self._syntax(error) from None
        except yaml.YAMLError as error:
            reason = getattr(error, "reason", None) or "cannot be parsed"
            raise _refused(self.name, f"YAML syntax: {reason}") from None
        if self._duplicates:
            raise YamlRefused(self._duplicates)
        return data

    def _document(self) -> Any:
        next(self._events)  # the stream's start
        if isinstance(event := next(self._events), StreamEndEvent):
            return None
        assert isinstance(event, DocumentStartEvent)
        data = self._node(next(self._events), (), 0)
        next(self._events)  # the document's end
        if not isinstance(event := next(self._events), StreamEndEvent):
            raise self._at(event, (), "holds a second YAML document; one is expected (remove the `---`)")
        return data

    def _node(self, event: Event, path: KeyPath, depth: int) -> Any:
        self._count(event, path, 1)
        self.lines.setdefault(path, _line(event))
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        if depth > MAX_DEPTH:
            raise self._at(event, path[:4], f"is nested deeper than {MAX_DEPTH} levels")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self._at(event, path, "has a YAML tag; tags (!!python/object and the like) are not allowed")
        before = self._nodes
        if isinstance(event, ScalarEvent):
            value: Any = self._scalar(event, path)
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = (value, self._nodes - before + 1)
        return value

    def _alias(self, event: AliasEvent, path: KeyPath) -> Any:
        # An anchor is registered when its node is complete, so one that contains itself is not found here.
        if event.anchor not in self._anchors:
            raise self._at(event, path, "refers to an anchor that is not defined before it")
        value, size = self._anchors[event.anchor]
        self._count(event, path, size)
        return value

    def _count(self, event: Event, path: KeyPath, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._at(event, path[:4], f"has more than {MAX_NODES:,} nodes once its aliases are expanded")

    def _sequence(self, path: KeyPath, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, path: KeyPath, depth: int) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        first_line: dict[str, int] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, path)
            line = _line(event)
            if key in entries:
                message = f"duplicate key; the first is in line {first_line[key]}"
                self._duplicates.append(ConfigProblem(self.name, show_path((*path, key)), message, line))
            first_line.setdefault(key, line)
            self.lines.setdefault((*path, key), line)
            entries[key] = self._node(next(self._events), (*path, key), depth + 1)
        return entries

    def _key(self, event: Event, path: KeyPath) -> str:
        if not isinstance(event, ScalarEvent):
            raise self._at(event, path, "has a key that is not a plain text")
        self._count(event, path, 1)
        if event.tag is not None:
            raise self._at(event, path, "has a YAML tag on a key; tags are not allowed")
        if event.value == "<<" and event.implicit[0]:
            raise self._at(event, path, "has a merge key (<<); merge keys are not supported, write the keys out")
        return str(event.value)

    def _scalar(self, event: ScalarEvent, path: KeyPath) -> Any:
        text: str = event.value
        if not event.implicit[0]:  # quoted or a block text
            return text
        if _NULL.match(text):
            return None
        if _TRUE.match(text) or _FALSE.match(text):
            return bool(_TRUE.match(text))
        if not _FLOAT.match(text):
            return text
        if len(text) > _LONGEST_NUMBER:
            raise self._at(event, path, f"is a number of more than {_LONGEST_NUMBER} digits; quote it if it is a text")
        return int(text) if _INT.match(text) else float(text)

    def _at(self, event: Event, path: KeyPath, message: str) -> YamlRefused:
        return _refused(self.name, message, _line(event), show_path(path))

    def _syntax(self, error: yaml.MarkedYAMLError) -> YamlRefused:
        # `problem` names characters and tokens, never the file's text; str(error) would quote the line.
        mark = error.problem_mark or error.context_mark
        words = ", ".join(w for w in (error.context, error.problem) if w)
        if mark is None:
            return _refused(self.name, f"YAML syntax: {words}")
        rows = self._text.splitlines() or [""]
        row = min(mark.line, len(rows) - 1)  # an unexpected end is said to be after the last line
        found = rows[row][mark.column : mark.column + 1]
        hint = {"\t": "; indent with spaces, not tabs", "@": _QUOTE, "`": _QUOTE, "%": _QUOTE, "*": _QUOTE}.get(
            found, ""
        )
        return _refused(self.name, f"YAML syntax: {words}{hint}", row + 1)
