"""A text into pieces of whole lines: at definitions, at headings, or by windows. Pure, bounded time.

The way is split, then merge ("cAST", Zhang et al. 2025, arXiv:2506.15655): what is larger than a passage is cut at the
boundaries of what it consists of, and small neighbours of the same owner are joined again. Pieces follow each other
without a gap: every line is in exactly one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from app.memory.definitions import ATTACHED, is_wrapper, name_of

if TYPE_CHECKING:
    from tree_sitter import Node

TARGET: Final = 700
"""Characters of a piece: one passage of the embedding model (`app.memory.searchable.PASSAGE_CHARACTERS`)."""
_DEEPEST: Final = 40
"""Nodes within each other that are looked into; what is nested deeper is cut by windows."""
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_LONGEST_HEADING: Final = 200

Scope = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines `start` to `end`, counted from 0, the end not inside. `owner` is the definition it stands in, `symbol`
    what it defines itself, else its owner."""

    start: int
    end: int
    owner: Scope = ()
    symbol: Scope = ()


class Lines:
    """A text's lines, each with its line end (`\\n`), and how many characters any run of them has in O(1)."""

    def __init__(self, text: str) -> None:
        self.texts = text.split("\n")
        last = self.texts.pop()
        self.texts = [line + "\n" for line in self.texts]
        if last:
            self.texts.append(last)
        self._sums = [0, *accumulate(map(len, self.texts))]

    def __len__(self) -> int:
        return len(self.texts)

    def size(self, start: int, end: int) -> int:
        return self._sums[end] - self._sums[start]

    def text(self, start: int, end: int) -> str:
        return "".join(self.texts[start:end])


def syntax_pieces(root: Node, lines: Lines) -> list[Piece]:
    """Of a syntax tree whose rows are these lines."""
    return merged(_split(root, 0, len(lines), (), lines, _DEEPEST), lines)


def window_pieces(lines: Lines, start: int = 0, end: int | None = None, scope: Scope = ()) -> list[Piece]:
    """Up to `TARGET` characters each, ended at an empty line where there is one in the second half."""
    end = len(lines) if end is None else end
    pieces = []
    begin, break_at = start, None
    for row in range(start, end):
        if row > begin and lines.size(begin, row + 1) > TARGET:
            cut = break_at if break_at is not None and lines.size(begin, break_at) > TARGET // 2 else row
            pieces.append(Piece(begin, cut, scope, scope))
            begin, break_at = cut, None
        if not lines.texts[row].strip():
            break_at = row + 1
    if begin < end:
        pieces.append(Piece(begin, end, scope, scope))
    return pieces


def markdown_pieces(lines: Lines) -> list[Piece]:
    """Sections, each under its headings from the outermost; long ones by windows, small neighbours together."""
    sections: list[tuple[int, Scope]] = [(0, ())]
    path: dict[int, str] = {}
    fence = ""
    for row, line in enumerate(lines.texts):
        if found := _FENCE.match(line):
            mark = found.group(1)
            if not fence:
                fence = mark
            elif mark.startswith(fence):
                fence = ""
            continue
        heading = None if fence else _heading(lines.texts, row)
        if heading is not None:
            level, title = heading
            path = {known: text for known, text in path.items() if known < level} | {level: title}
            sections.append((row, tuple(path[known] for known in sorted(path))))
    ends = [row for row, _ in sections[1:]] + [len(lines)]
    cut = [window_pieces(lines, row, end, scope) for (row, scope), end in zip(sections, ends, strict=True)]
    return merged([_in_section(piece) for pieces in cut for piece in pieces], lines)


def _in_section(piece: Piece) -> Piece:
    """Sections of one parent are neighbours."""
    return replace(piece, owner=piece.symbol[:-1])


def _heading(texts: Sequence[str], row: int) -> tuple[int, str] | None:
    line = texts[row][: 2 * _LONGEST_HEADING].rstrip("\r\n")
    if found := _HEADING.match(line):
        return len(found.group(1)), (found.group(2) or "")[:_LONGEST_HEADING]
    below = texts[row + 1][: 2 * _LONGEST_HEADING].rstrip("\r\n") if row + 1 < len(texts) else ""
    after_blank = row == 0 or not texts[row - 1].strip()
    if after_blank and line.strip() and line[0] not in "-=>|*#" and (found := _UNDERLINE.match(below)):
        return (1 if found.group(1)[0] == "=" else 2), line.strip()[:_LONGEST_HEADING]
    return None


def merged(pieces: Iterable[Piece], lines: Lines) -> list[Piece]:
    """Neighbours of one owner joined while they fit into one passage."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last is not None and last.owner == piece.owner and lines.size(last.start, piece.end) <= TARGET:
            joined[-1] = Piece(last.start, piece.end, piece.owner, _symbol(last, piece))
        else:
            joined.append(piece)
    return joined


def _symbol(first: Piece, second: Piece) -> Scope:
    """The one definition at the top level of a file, else what both stand in."""
    if first.symbol == second.symbol:
        return first.symbol
    if not first.owner and not (first.symbol and second.symbol):
        return first.symbol or second.symbol
    return first.owner


def _split(node: Node, start: int, end: int, owner: Scope, lines: Lines, depth: int) -> list[Piece]:
    """The rows `start` to `end`, which hold the node and what is attached to it, cut until nothing is too large."""
    name = name_of(node)
    symbol = (*owner, *name.split(".")) if name else owner
    fits = lines.size(start, end) <= TARGET and node.parent is not None  # a file's one definition names its piece
    if fits or end - start <= 1:
        return [Piece(start, end, owner, symbol)]
    children = _parts(node, start, end) if depth else []
    if not children:
        return window_pieces(lines, start, end, symbol)
    pieces = [] if children[0][1] == start else [Piece(start, children[0][1], symbol, symbol)]
    inner = owner if is_wrapper(node) else symbol
    for (child, begin), (_, stop) in zip(children, [*children[1:], (node, end)], strict=True):
        pieces += _split(child, begin, stop, inner, lines, depth - 1)
    return [part for piece in pieces for part in _bounded(piece, lines)]


def _bounded(piece: Piece, lines: Lines) -> list[Piece]:
    if lines.size(piece.start, piece.end) <= TARGET:
        return [piece]
    return [replace(part, owner=piece.owner) for part in window_pieces(lines, piece.start, piece.end, piece.symbol)]


def _parts(node: Node, start: int, end: int) -> list[tuple[Node, int]]:
    """Children and the row each one's part begins at: later than the one before it, comments with what follows."""
    parts: list[tuple[Node, int]] = []
    comments: tuple[int, int] | None = None  # the first row of a run of them, and the row after it
    reached = -1  # the last row of what came before
    for child in node.children:
        first, last = child.start_point.row, _last_row(child)
        if not start <= first < end:
            continue
        begin = comments[0] if comments is not None and comments[1] == first else first
        if first > reached and child.type in ATTACHED:
            comments = begin, last + 1
        elif first > reached:
            parts.append((child, begin))
            comments = None
        elif parts and _rows(child) > _rows(parts[-1][0]):
            parts[-1] = child, parts[-1][1]  # they share a line: the larger one is worth looking into
        reached = max(reached, last)
    return parts


def _rows(node: Node) -> int:
    return _last_row(node) - node.start_point.row


def _last_row(node: Node) -> int:
    """A node that ends in a line end reaches no further than that line."""
    end = node.end_point
    return end.row - 1 if end.column == 0 and end.row > node.start_point.row else end.row
