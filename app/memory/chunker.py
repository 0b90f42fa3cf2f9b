"""A file's text -> chunks: at definitions where there is a grammar, at headings in Markdown, by lines elsewhere. Pure.

Chunks are about one passage of the embedding model long, know what they are part of (`Router.stream`), and together
hold every line of the file once. Time is bounded whatever the text: by `MAX_CHARACTERS`, by the parser's time limit,
by how deep nesting is looked into, and by `MAX_LINE` for text that has no lines.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.memory.chunks import Chunk, chunk_id
from app.memory.languages import LANGUAGES, MARKDOWN, ParseAborted, language_of, parse
from app.memory.pieces import Lines, Piece, markdown_pieces, syntax_pieces, window_pieces

if TYPE_CHECKING:
    from tree_sitter import Tree

MAX_CHARACTERS: Final = 4_000_000
MAX_LINE: Final = 2_000
"""Of a longer line, which is data or minified code, a chunk keeps so many characters from its beginning."""
_BROKEN: Final = 0.3
"""Share of a file in the parser's `ERROR` nodes from which its tree says nothing."""


class FileTooLarge(ValueError):
    """The text has more than `MAX_CHARACTERS`."""


@dataclass(frozen=True, slots=True)
class ChunkedFile:
    """A file's chunks in order; none where it has no lines but empty ones. `tree` is the tree of `source` (UTF-8) where
    the language has a grammar and the parser made sense of it."""

    chunks: tuple[Chunk, ...]
    language: str | None
    source: bytes
    tree: Tree | None


def chunk_file(path: str, text: str, content_hash: str) -> ChunkedFile:
    """Cut a file's text. `path` is the one that chunks carry. Any text will do; raises `FileTooLarge` and no more."""
    if len(text) > MAX_CHARACTERS:
        raise FileTooLarge(f"{path}: {len(text):,} characters, of at most {MAX_CHARACTERS:,}")
    source = text.encode("utf-8", "replace")
    language = language_of(path, text[: text.find("\n") + 1])
    tree = _tree(source, language)
    lines = Lines(text)
    if tree is not None:
        pieces = syntax_pieces(tree.root_node, lines)
    elif language == MARKDOWN:
        pieces = markdown_pieces(lines)
    else:
        pieces = window_pieces(lines)
    return ChunkedFile(tuple(_chunks(path, lines, pieces, language, content_hash)), language, source, tree)


def _chunks(path: str, lines: Lines, pieces: list[Piece], language: str | None, content_hash: str) -> list[Chunk]:
    seen: Counter[str] = Counter()
    chunks = []
    for piece in pieces:
        text = "".join(_shortened(line) for line in lines.texts[piece.start : piece.end])
        if not text.strip() and len(pieces) == 1:
            continue
        named = ".".join(piece.symbol) if language != MARKDOWN else ""
        header = " ".join((path, *piece.symbol)) if language == MARKDOWN and piece.symbol else ""
        identity = chunk_id(path, text, seen[text])
        seen[text] += 1
        chunks.append(
            Chunk(identity, path, piece.start + 1, piece.end, text, named or None, language, content_hash, header)
        )
    return chunks


def _shortened(line: str) -> str:
    return line if len(line) <= MAX_LINE else line[:MAX_LINE] + ("\n" if line.endswith("\n") else "")


def _tree(source: bytes, language: str | None) -> Tree | None:
    if language not in LANGUAGES or not source:
        return None
    try:
        tree = parse(source, language)
    except ParseAborted:
        return None
    root = tree.root_node
    broken = sum(child.end_byte - child.start_byte for child in root.children if child.is_error)
    return None if root.is_error or broken > _BROKEN * len(source) else tree
