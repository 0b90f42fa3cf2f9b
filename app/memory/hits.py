"""What a search found: rows of the index to ranked hits. No I/O, and no library but what made the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.errors import SidecarError
from app.memory import index_rows
from app.memory.chunks import Chunk
from app.memory.hybrid import Candidate, Distinct, Weights, fuse

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
class ByWords:
    """What full text found: BM25 by chunk, best first; the digest of each one's path; and of the first `candidates`
    an Arrow table of `chunk` and `vector`, a row per passage, or None."""

    scores: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    candidates: Sequence[str] = ()
    vectors: Any = None


@dataclass(frozen=True, slots=True)
class ByVector:
    """What the vectors found: the cosine by chunk, nearest first; the digest of each one's path; what was asked."""

    similarities: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    asked: Vectors | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hit whose chunk has not been read yet."""

    chunk_id: str
    score: float
    similarity: float | None
    lexical_rank: int | None
    vector_rank: int | None


def rank(words: ByWords, near: ByVector, weights: Weights) -> list[Ranked]:
    """Every candidate of either search, best first. The order makes equal scores come out the same each time."""
    wanted = list(dict.fromkeys([*words.candidates, *near.similarities]))
    similarities = {**_cosines(words.vectors, near.asked), **near.similarities}
    files = {**words.files, **near.files}
    scores = fuse([Candidate(files[c], words.scores.get(c, 0.0), similarities.get(c)) for c in wanted], weights)
    lexical = {chunk_id: place for place, chunk_id in enumerate(words.scores, start=1)}
    nearest = {chunk_id: place for place, chunk_id in enumerate(near.similarities, start=1)}
    return [
        Ranked(wanted[at], scores[at], similarities.get(wanted[at]), lexical.get(wanted[at]), nearest.get(wanted[at]))
        for at in sorted(range(len(wanted)), key=lambda at: (-scores[at], at))
    ]


def _cosines(found: Any, asked: Vectors | None) -> dict[str, float]:
    """By chunk, that of its best passage. Chunks without a vector are left out."""
    cosines: dict[str, float] = {}
    if found is None or asked is None:
        return cosines
    found = found.filter(found.column("vector").is_valid())
    if len(found):
        values = found.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        for chunk_id, cosine in zip(
            found.column("chunk").to_pylist(), (values.reshape(len(found), -1) @ asked).tolist(), strict=True
        ):
            cosines[chunk_id] = max(cosine, cosines.get(chunk_id, -1.0))
    return cosines


def word_hits(found: Any, candidates: int) -> ByWords:
    """`found`: an Arrow table of `chunk`, `path_key` and `_score`, in any order. The best become candidates."""
    ids, keys = found.column("chunk").to_pylist(), found.column("path_key").to_pylist()
    scores = dict(zip(ids, found.column("_score").to_pylist(), strict=True))
    best = sorted(scores, key=lambda chunk_id: (-scores[chunk_id], chunk_id))
    return ByWords({c: scores[c] for c in best}, dict(zip(ids, keys, strict=True)), best[:candidates])


def near_hits(found: Any, asked: Vectors) -> ByVector:
    """`found`: an Arrow table of `chunk`, `path_key` and `_distance`, squared and Euclidean, nearest first."""
    ids, keys = found.column("chunk").to_pylist(), found.column("path_key").to_pylist()
    similarities: dict[str, float] = {}
    for chunk_id, distance in zip(ids, found.column("_distance").to_pylist(), strict=True):
        similarities.setdefault(chunk_id, 1 - distance / 2)  # of unit vectors
    return ByVector(similarities, dict(zip(ids, keys, strict=True)), asked)


def read_hits(ranked: Sequence[Ranked], found: Any, distinct: Distinct) -> list[Hit]:
    """`ranked` in their order with their chunks, out of an Arrow table of their rows. Without what nearly repeats an
    earlier one, and what was deleted since."""
    rows = {row["chunk"]: row for row in found.to_pylist() if row["part"] == 0}
    return [
        Hit(index_rows.chunk_of(row), r.score, r.similarity, r.lexical_rank, r.vector_rank)
        for r in ranked
        if (row := rows.get(r.chunk_id)) is not None and distinct.new(row["terms"])
    ]


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
