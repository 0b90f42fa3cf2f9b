"""Two rankings into one: cosine and BM25 in standard deviations, plus a share of the best in the same file. Pure.

Sums of standard scores beat reciprocal rank fusion here (`bench/code_retrieval.py`), because a rank forgets by how much
the first was better. A file whose best chunk fits is likelier to hold the others too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

NEAR_DUPLICATE: Final = 0.9
"""Jaccard similarity of two chunks' pairs of neighbouring words from which the second says nothing new."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What each part counts beside the cosine's 1.0."""

    words: float = 1.0
    """Of BM25."""
    file: float = 0.5
    """Of the best score in the same file."""


WEIGHTS: Final = Weights()


@dataclass(frozen=True, slots=True)
class Candidate:
    """What either search found. `words` is BM25, 0.0 where no word is shared; `similarity` the cosine, or unknown."""

    file: object
    words: float
    similarity: float | None


def fuse(candidates: Sequence[Candidate], weights: Weights = WEIGHTS) -> list[float]:
    """One score per candidate, higher is better; comparable within one answer only."""
    meaning = standard([c.similarity for c in candidates])
    words = standard([c.words for c in candidates])
    own = [m + weights.words * w for m, w in zip(meaning, words, strict=True)]
    best: dict[object, float] = {}
    for candidate, score in zip(candidates, own, strict=True):
        best[candidate.file] = max(score, best.get(candidate.file, score))
    return [score + weights.file * best[c.file] for c, score in zip(candidates, own, strict=True)]


def standard(values: Sequence[float | None]) -> list[float]:
    """In standard deviations from the mean of what is known; what is unknown is average."""
    known = [value for value in values if value is not None]
    if not known:
        return [0.0] * len(values)
    mean = math.fsum(known) / len(known)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / len(known))
    if deviation < 1e-9:
        return [0.0] * len(values)
    return [0.0 if value is None else (value - mean) / deviation for value in values]


class Distinct:
    """Tells of texts, given one after the other, which are new and which nearly repeat one that was."""

    def __init__(self) -> None:
        self._seen: list[frozenset[tuple[str, str]]] = []

    def new(self, terms: str) -> bool:
        """`terms`: the text's words, in order."""
        pairs = _pairs(terms)
        if any(_jaccard(pairs, other) >= NEAR_DUPLICATE for other in self._seen):
            return False
        self._seen.append(pairs)
        return True


def _pairs(terms: str) -> frozenset[tuple[str, str]]:
    words = terms.split(" ")
    return frozenset(zip(["", *words], words, strict=False))


def _jaccard(a: frozenset[tuple[str, str]], b: frozenset[tuple[str, str]]) -> float:
    if min(len(a), len(b)) < NEAR_DUPLICATE * max(len(a), len(b)):
        return 0.0  # cannot be that similar
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if shared else float(not a and not b)
