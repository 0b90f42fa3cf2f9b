"""What of a chunk is searched: its words for full text, its passages for the embedding model. Pure, bounded time.

A chunk cut out of a file has lost what stood around it. So both get a *context* back, made from the file alone: the
path, the types it stands in (read off the chunks before it), and the names it defines. This is "contextual retrieval"
without a model; on `bench/code_retrieval.py` it brings 5 to 7 points at every depth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from app.llm.passages import terms
from app.memory.chunks import Chunk

PASSAGE_CHARACTERS: Final = 700
"""With its context about 256 word pieces of code, the most the embedding model reads."""
MAX_PASSAGES: Final = 8
"""Of a long chunk six from its beginning and two from its end."""
_LAST_PASSAGES = 2
MAX_INDEXED_CHARACTERS: Final = 50_000
"""Of one chunk's text; the rest (minified code, data) is stored and not searched."""
MAX_CONTEXT_CHARACTERS: Final = 300
_LONGEST_LINE = 240
"""A longer line is data, not a definition."""

# Each pattern runs over one line of at most `_LONGEST_LINE` characters, so no input can make it slow.
_NAMED = re.compile(
    r"\b(?:class|struct|enum|union|trait|interface|impl(?:<[^>]*>)?|namespace|module|mod|type|record|object|fn|def"
    r"|func(?:\s*\([^)]*\))?|function|macro_rules!)\s+([A-Za-z_][\w:]*)"
)
_STATEMENT = r"return|await|throw|yield|raise|new|delete|else|case|not|goto|co_\w+"
_FUNCTION = re.compile(rf"^\s*(?!(?:{_STATEMENT})\b)(?:[\w:<>,*&\[\]~]+\s+)+?[*&]*([A-Za-z_~][\w:]*)\s*\([^;]*$")
"""`public static int count(`: C, C++, Java, where no keyword says that a function begins."""
_IMPL_FOR = re.compile(r"\bimpl\b.*\sfor\s+([A-Za-z_]\w*)")
_SCOPE = re.compile(
    r"^\s*(?:[\w\[\]#:@<>()]+\s+)*?(?:class|struct|enum|trait|interface|impl|namespace|object)\b(?:<[^>]*>)?\s*(.*)$"
)
_WORD = re.compile(r"[a-z]+")
_TYPE = re.compile(r"[A-Z]\w+")
_SCOPE_WORD = re.compile(r"\b(?:class|struct|enum|trait|interface|impl|namespace|object)\b")
_NOT_NAMES = frozenset(
    _WORD.findall("if for while switch return catch else new throw the that this is of a an in and or to with await")
)


@dataclass(frozen=True, slots=True)
class Searchable:
    """One chunk: `terms` are words with spaces between them, `passages` the texts to embed, at least one."""

    terms: str
    passages: tuple[str, ...]


def searchables(chunks: Sequence[Chunk]) -> list[Searchable]:
    """One per chunk, in order. The chunks of one file are each other's context: give them together."""
    scopes = _scopes(chunks)
    return [_searchable(chunk, scope) for chunk, scope in zip(chunks, scopes, strict=True)]


def query_terms(query: str, most: int) -> list[str]:
    """The distinct words a query is searched by; of a long one those at its beginning and its end."""
    distinct = list(dict.fromkeys(terms(query[:MAX_INDEXED_CHARACTERS])))
    return distinct if len(distinct) <= most else [*distinct[: most // 2], *distinct[-(most - most // 2) :]]


def _searchable(chunk: Chunk, scope: Sequence[str]) -> Searchable:
    text = chunk.text[:MAX_INDEXED_CHARACTERS]
    named = list(dict.fromkeys(_names(text)))
    around = [chunk.symbol] if chunk.symbol else list(scope)
    place = chunk.header or chunk.path
    # Names count twice, here and in the text: the chunk that defines a thing is what a question about it wants.
    words = [*terms(text), *terms(" ".join([chunk.path, chunk.header, *around, *named]))]
    context = " ".join(dict.fromkeys([place, *around, *named]))[:MAX_CONTEXT_CHARACTERS]
    passages = tuple(f"{context}\n{window}" for window in windows(text))
    return Searchable(" ".join(words), passages)


def _names(text: str) -> Iterator[str]:
    """What the text defines, by the look of its lines; in any language, so now and then something else too."""
    for line in _short_lines(text):
        found = [*_NAMED.findall(line), *_IMPL_FOR.findall(line)]
        if not found and (function := _FUNCTION.match(line)):
            found = [function.group(1)]
        yield from (name for name in found if name.lower() not in _NOT_NAMES)


def _scopes(chunks: Sequence[Chunk]) -> list[tuple[str, ...]]:
    """The type each chunk begins in: the last one that an earlier chunk of the same file opened."""
    scopes: list[tuple[str, ...]] = [()] * len(chunks)
    current: dict[str, tuple[str, ...]] = {}
    for at in sorted(range(len(chunks)), key=lambda i: (chunks[i].path, chunks[i].start_line, i)):
        chunk = chunks[at]
        scope = scopes[at] = current.get(chunk.path, ())
        if chunk.symbol is None:
            for line in _short_lines(chunk.text[:MAX_INDEXED_CHARACTERS]):
                scope = _opened(line) or scope
            current[chunk.path] = scope
    return scopes


def _opened(line: str) -> tuple[str, ...]:
    match = _SCOPE.match(line) if _SCOPE_WORD.search(line) else None
    return tuple(_TYPE.findall(match.group(1))[:2]) if match else ()


def _short_lines(text: str) -> Iterable[str]:
    return (line for line in text.splitlines() if line and len(line) <= _LONGEST_LINE)


def windows(text: str, size: int = PASSAGE_CHARACTERS) -> list[str]:
    """Whole lines of about `size` characters, each window half over the one before: one to `MAX_PASSAGES`."""
    if len(text) <= size:
        return [text]
    lines = [line[at : at + size] for line in text.splitlines(keepends=True) for at in range(0, len(line), size)]
    found: list[str] = []
    start = 0
    while True:
        end, length = start + 1, len(lines[start])
        while end < len(lines) and length + len(lines[end]) <= size:
            length += len(lines[end])
            end += 1
        found.append("".join(lines[start:end]))
        if end == len(lines):
            break
        start = _half(lines, start, end, length / 2)
    if len(found) > MAX_PASSAGES:
        found = [*found[: MAX_PASSAGES - _LAST_PASSAGES], *found[-_LAST_PASSAGES:]]
    return found


def _half(lines: Sequence[str], start: int, end: int, half: float) -> int:
    """The line where the next window begins: `half` characters on, and at least one line."""
    passed = 0
    at = start
    while at < end and passed < half:
        passed += len(lines[at])
        at += 1
    return max(at, start + 1)
