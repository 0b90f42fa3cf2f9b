"""Full text over messages: Okapi BM25 with postings that grow as messages come in. Pure, no library."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

from app.llm.passages import terms

MAX_INDEXED_CHARACTERS = 50_000
"""Of one text, half from its beginning and half from its end: a pasted log is not worth seconds."""
MAX_QUERY_TERMS = 48
"""A query that carries a whole file is searched by its rarest words."""
_K1, _B = 1.2, 0.75
"""BM25's usual constants (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009)."""


class WordIndex:
    """Texts by their words and parts of identifiers, numbered as they were added."""

    def __init__(self) -> None:
        self._postings: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self._lengths: list[int] = []
        self._total = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, text: str) -> None:
        """O(length of the text), bounded by `MAX_INDEXED_CHARACTERS`."""
        counts = Counter(terms(_clipped(text)))
        number = len(self._lengths)
        for term, count in counts.items():
            self._postings[term].append((number, count))
        self._lengths.append(counts.total())
        self._total += counts.total()

    def scores(self, query: str) -> list[float]:
        """One per text, in the order they were added; 0.0 where a text shares no word with the query."""
        scores = [0.0] * len(self._lengths)
        average = max(1.0, self._total / max(1, len(self._lengths)))
        for term in self._wanted(query):
            postings = self._postings[term]
            weight = self._idf(term) * (_K1 + 1)
            for number, count in postings:
                norm = _K1 * (1 - _B + _B * self._lengths[number] / average)
                scores[number] += weight * count / (count + norm)
        return scores

    def _wanted(self, query: str) -> list[str]:
        """The query's words that occur, rarest first. Sorted, because the order of a set changes with the process and
        with it the last bit of a sum."""
        known = {term for term in terms(_clipped(query)) if term in self._postings}
        return sorted(known, key=lambda term: (len(self._postings[term]), term))[:MAX_QUERY_TERMS]

    def _idf(self, term: str) -> float:
        holding = len(self._postings[term])
        return math.log(1 + (len(self._lengths) - holding + 0.5) / (holding + 0.5))


def _clipped(text: str) -> str:
    if len(text) <= MAX_INDEXED_CHARACTERS:
        return text
    half = MAX_INDEXED_CHARACTERS // 2
    return f"{text[:half]} {text[-half:]}"
