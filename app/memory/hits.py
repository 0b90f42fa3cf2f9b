"""What a search found: rows of the index to ranked hits. No I/O, and no library but what made the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.errors import SidecarError
from app.memory import index_rows
from app.memory.chunks import Chunk
from app.memory.hybrid import Candidate, Weights, fuse, thinned

if TYPE_CHECKING:
    from app.memory.embedder import Vectors


class IndexUnavailable(SidecarError):
    """The workspace's index cannot be read or written."""

    status, code, title = 503, "index_unavailable", "Index unavailable"


@dataclass(frozen=True, slots=True)
class Hit:
    """`score` compares within one answer only. `similarity` is the cosine of the query and the chunk's best passage,
    None where either has no vector. Ranks count from 1; None: not among what that search returned."""

    chunk: Chunk
    score: float
    similarity: float | None
    lexical_rank: int | None
    vector_rank: int | None


@dataclass(frozen=True, slots=True)
class IndexStats:
    """`vectors` counts passages; `without_vectors` chunks that wait for the embedding model."""

    files: int = 0
    chunks: int = 0
    vectors: int = 0
    without_vectors: int = 0
    vector_index: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What the two searches brought: ids best first, the BM25 of each, and the query's vector where there is one.
    `wanted` are the candidates."""

    wanted: Sequence[str]
    by_words: Sequence[str]
    words: Mapping[str, float]
    by_vector: Sequence[str]
    vector: Vectors | None


def rank(found: Any, query: Query, weights: Weights, k: int) -> list[Hit]:
    """`found`: an Arrow table of the candidates' rows."""
    records = _records(found, query.vector)
    # A chunk may have been deleted since. The order makes equal scores come out the same each time.
    present = [records[chunk_id] for chunk_id in query.wanted if chunk_id in records]
    scores = fuse([Candidate(r["path"], query.words.get(r["chunk"], 0.0), r["similarity"]) for r in present], weights)
    order = sorted(range(len(present)), key=lambda at: (-scores[at], at))
    lexical = {chunk_id: place for place, chunk_id in enumerate(query.by_words, start=1)}
    near = {chunk_id: place for place, chunk_id in enumerate(query.by_vector, start=1)}
    return [
        Hit(
            chunk=index_rows.chunk_of(present[at]),
            score=scores[at],
            similarity=present[at]["similarity"],
            lexical_rank=lexical.get(present[at]["chunk"]),
            vector_rank=near.get(present[at]["chunk"]),
        )
        for at in thinned(order, {at: record["terms"] for at, record in enumerate(present)}, k)
    ]


def _records(found: Any, asked: Vectors | None) -> dict[str, dict[str, Any]]:
    """By id: the columns of part 0, and as `similarity` the cosine of the best part."""
    similarities: dict[str, float] = {}
    if asked is not None:
        with_vector = found.filter(found.column("vector").is_valid())
        values = with_vector.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        cosines = (values.reshape(len(with_vector), -1) @ asked).tolist() if len(with_vector) else []
        for chunk_id, cosine in zip(with_vector.column("chunk").to_pylist(), cosines, strict=True):
            similarities[chunk_id] = max(cosine, similarities.get(chunk_id, -1.0))
        found = found.drop_columns(["vector"])
    rows = [row for row in found.to_pylist() if row["part"] == 0]
    return {row["chunk"]: row | {"similarity": similarities.get(row["chunk"])} for row in rows}


def file_hashes(found: Any) -> dict[str, str]:
    """Each path's content hash, out of `path` and `content_hash` of every chunk; without paths that have several."""
    pairs = found.group_by(["path", "content_hash"]).aggregate([])
    hashes: dict[str, str] = {}
    doubtful: set[str] = set()
    for raw, content_hash in zip(pairs["path"].to_pylist(), pairs["content_hash"].to_pylist(), strict=True):
        path = raw.decode("utf-8", "surrogateescape")
        if path in hashes:
            doubtful.add(path)
        hashes[path] = content_hash
    return {path: content_hash for path, content_hash in hashes.items() if path not in doubtful}
