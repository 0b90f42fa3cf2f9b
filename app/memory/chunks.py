"""A chunk: one piece of a file as the index stores it and search returns it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines `start_line` to `end_line` of a file, both counted from 1 and both inside.

    `id` is made by `chunk_id`; it suits the index's rule for ids (`[A-Za-z0-9_.:-]{1,128}`).
    `path` is relative to the folder that was indexed, with `/` between its parts.
    `symbol` is the dotted enclosing path of what is defined here (`Router.stream`), or null.
    `language` is a name out of `languages.LANGUAGES`, `markdown`, or null for other text.
    `content_hash` is the whole file's, the same for all of its chunks: an index knows a file by it.
    `header` is for search and embedding, not for people: where the text stands (path, enclosing symbols) in a line.
    """

    id: str
    path: str
    start_line: int
    end_line: int
    text: str
    symbol: str | None
    language: str | None
    content_hash: str
    header: str = ""


def chunk_id(path: str, text: str, occurrence: int) -> str:
    """The id of the `occurrence`th (from 0) chunk of `path` with exactly `text`: 32 hexadecimal digits.

    Lines are no part of it: a chunk that only moved within its file keeps its id, so its vector can be kept too.
    """
    digest = hashlib.sha256()
    for part in (path, text, str(occurrence)):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:32]


def content_hash(data: bytes) -> str:
    """A file's content hash: 32 hexadecimal digits of SHA-256."""
    return hashlib.sha256(data).hexdigest()[:32]
