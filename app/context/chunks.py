"""Code chunks: duplicates dropped, overlapping ones merged, so that no source line is shown twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from app.context.blocks import CodeChunk, OpenFile
from app.context.trace import clean_path, same_file
from app.context.trim import Span, lines_of


@dataclass(frozen=True, slots=True)
class Merged:
    """A chunk as it will be offered. `strongest` is the best of several that were joined, None where there was one."""

    chunk: CodeChunk
    strongest: CodeChunk | None = None


@dataclass(frozen=True, slots=True)
class Absorbed:
    """A chunk whose lines are shown elsewhere, and where."""

    chunk: CodeChunk
    into: str


@dataclass(frozen=True, slots=True)
class Tidied:
    """`spans` are the lines of the open file that chunks pointed at."""

    chunks: tuple[Merged, ...]
    absorbed: tuple[Absorbed, ...]
    spans: tuple[Span, ...]


def chunk_id(chunk: CodeChunk) -> str:
    """`chunk:path:10-20`; without lines, a digest of the text stands in for them."""
    if chunk.start_line is not None and chunk.end_line is not None:
        return f"chunk:{chunk.path or ''}:{chunk.start_line}-{chunk.end_line}"
    digest = hashlib.blake2b(chunk.text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"chunk:{chunk.path or ''}#{digest}"


def by_strength(chunk: CodeChunk, unknown: float) -> tuple[float, str, int, int, str]:
    """Sorts the most similar first; an unknown similarity counts as `unknown`. Total, so input order is irrelevant."""
    similarity = unknown if chunk.similarity is None else chunk.similarity
    return (-similarity, chunk.path or "", chunk.start_line or 0, chunk.end_line or 0, chunk.text)


def tidy(chunks: Iterable[CodeChunk], file: OpenFile | None, unknown: float) -> Tidied:
    """Drop what the open file shows, drop duplicates, join what overlaps; the strongest come first.

    Where two overlapping chunks disagree about a line (an index that is behind), the stronger one's is kept.
    """
    ordered = sorted((_normalised(chunk) for chunk in chunks), key=lambda chunk: by_strength(chunk, unknown))
    absorbed: list[Absorbed] = []
    spans: list[Span] = []
    opaque: dict[str, CodeChunk] = {}
    placed: dict[str, list[CodeChunk]] = {}
    for chunk in ordered:
        span = _span_in(file, chunk)
        if span is not None:
            spans.append(span)
            absorbed.append(Absorbed(chunk, "the open file"))
        elif chunk.start_line is not None:
            placed.setdefault(chunk.path or "", []).append(chunk)
        elif chunk.text in opaque:
            absorbed.append(Absorbed(chunk, chunk_id(opaque[chunk.text])))
        else:
            opaque[chunk.text] = chunk
    merged = [Merged(chunk) for chunk in opaque.values()]
    for same_path in placed.values():
        for group in _overlapping(same_path):
            joined = _join(group)
            merged.append(joined)
            absorbed += [Absorbed(c, chunk_id(joined.chunk)) for c in group[1:]]
            if joined.strongest is not None:
                absorbed.append(Absorbed(group[0], chunk_id(joined.chunk)))
    merged.sort(key=lambda one: by_strength(one.chunk, unknown))
    return Tidied(tuple(merged), tuple(absorbed), tuple(spans))


def _normalised(chunk: CodeChunk) -> CodeChunk:
    """With a clean path, and with line numbers that agree with the text or none at all."""
    path = clean_path(chunk.path) if chunk.path else None
    start, end = chunk.start_line, chunk.end_line
    count = len(lines_of(chunk.text))
    if path is None or start is None or start < 1:
        start = end = None
    elif end is None or end - start + 1 == count:
        end = start + count - 1
    else:
        start = end = None  # a header or a cut: the text is not those lines
    return replace(chunk, path=path, start_line=start, end_line=end)


def _span_in(file: OpenFile | None, chunk: CodeChunk) -> Span | None:
    """The lines of the open file that the chunk shows, or None where it shows something else."""
    if file is None:
        return None
    if chunk.path is not None and (file.path is None or not same_file(chunk.path, file.path)):
        return None
    if chunk.path is not None and chunk.start_line is not None and chunk.end_line is not None:
        return chunk.start_line, chunk.end_line
    text = chunk.text.strip("\n")
    at = file.text.find(text) if text else -1
    if at < 0:
        return None
    first = file.text.count("\n", 0, at) + 1
    return first, first + text.count("\n")


def _overlapping(chunks: Sequence[CodeChunk]) -> list[list[CodeChunk]]:
    """Groups that share lines, each in the order given (strongest first)."""
    strength = {id(chunk): index for index, chunk in enumerate(chunks)}
    groups: list[list[CodeChunk]] = []
    reached = 0
    for chunk in sorted(chunks, key=lambda chunk: chunk.start_line or 0):
        if groups and (chunk.start_line or 0) <= reached:
            groups[-1].append(chunk)
        else:
            groups.append([chunk])
            reached = 0
        reached = max(reached, chunk.end_line or 0)
    for group in groups:
        group.sort(key=lambda chunk: strength[id(chunk)])
    return groups


def _join(group: Sequence[CodeChunk]) -> Merged:
    best = group[0]
    by_line: dict[int, str] = {}
    for chunk in group:
        for number, line in enumerate(lines_of(chunk.text), chunk.start_line or 1):
            by_line.setdefault(number, line)
    numbers = sorted(by_line)
    if (numbers[0], numbers[-1]) == (best.start_line, best.end_line):
        return Merged(best)
    text = "\n".join(by_line[number] for number in numbers) + "\n"
    return Merged(replace(best, text=text, start_line=numbers[0], end_line=numbers[-1], symbol=None), best)
