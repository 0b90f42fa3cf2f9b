"""Chunks made ready to be stored: what is searched of them, and its vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.memory.chunks import Chunk
from app.memory.embedder import Embedder, Urgency
from app.memory.model_files import EmbedderUnavailable
from app.memory.searchable import Searchable, searchables

if TYPE_CHECKING:
    from app.memory.embedder import Vectors

PORTION: Final = 256
"""Passages handed to the embedder at once."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """`vectors` has one row per passage of each chunk, in order; None: the embedding model was not there."""

    chunks: Sequence[Chunk]
    found: Sequence[Searchable]
    vectors: Vectors | None


async def prepare(chunks: Sequence[Chunk], embedder: Embedder, urgency: Urgency = Urgency.INDEX) -> Prepared:
    """At least one chunk. The words are made on a thread: about 0.3 ms a chunk."""
    found = await asyncio.to_thread(searchables, chunks)
    texts = [passage for searchable in found for passage in searchable.passages]
    portions = [texts[at : at + PORTION] for at in range(0, len(texts), PORTION)]
    try:
        vectors = [await embedder.embed(portion, urgency) for portion in portions]
    except EmbedderUnavailable:
        return Prepared(chunks, found, None)
    import numpy as np  # loaded by now

    return Prepared(chunks, found, np.concatenate(vectors))
