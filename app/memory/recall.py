"""Which older messages bear on a query: by meaning, by words, and by the messages around them.

A message's relevance is the cosine of its embedding plus its BM25 score, each in standard deviations over the whole
conversation, plus a share of what its neighbours have (an answer belongs to its question) and of what the best messages
of its sitting have. Measured on LoCoMo by `bench/history_recall.py`, which with `--parts` says what each part brings;
tuned on its conversations 26, 41 and 43.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from app.memory.embedder import DIMENSIONS
from app.memory.lexical import WordIndex

if TYPE_CHECKING:
    from app.memory.embedder import Vectors

SITTING_BEST: Final = 3
"""A sitting is worth the mean of so many best messages of it."""
PAUSE_SECONDS: Final = 3_600.0
"""Silence after which a new sitting begins. Neighbours are neighbours within one sitting."""
PASSAGE_CHARACTERS: Final = 1_000
"""About 256 word pieces of English, the most the embedding model reads."""
MAX_PASSAGES: Final = 8
"""Of a long message six from its beginning and two from its end (a pasted log says at its end what went wrong)."""
_LAST_PASSAGES = 2
# Not strftime's names, which follow the locale.
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True, slots=True)
class Weights:
    """What each part counts beside the cosine's 1.0. Halving or doubling one of them costs about 0.01."""

    words: float = 0.6
    """Of BM25."""
    neighbours: tuple[float, ...] = (0.3, 0.15)
    """Shares of a message's score that the messages one and two places away from it get."""
    sitting: float = 0.2


WEIGHTS: Final = Weights()


@dataclass(frozen=True, slots=True)
class Remembered:
    """A stored message as recall sees it. `speaker` is a name where more than "user" and "assistant" is known."""

    text: str
    created_at: datetime | None = None
    speaker: str | None = None


def passages(message: Remembered) -> tuple[str, ...]:
    """The texts to embed for a message, one to `MAX_PASSAGES`; they depend on it alone, so they are embedded once."""
    pieces = _pieces(message.text.strip())
    if len(pieces) > MAX_PASSAGES:
        pieces = [*pieces[: MAX_PASSAGES - _LAST_PASSAGES], *pieces[-_LAST_PASSAGES:]]
    label = f"{message.speaker}: " if message.speaker else ""
    return tuple(label + piece for piece in pieces)


def _pieces(text: str) -> list[str]:
    """Cut at the last line end, else at the last space, in the second half of each `PASSAGE_CHARACTERS`."""
    pieces: list[str] = []
    start = 0
    while len(text) - start > PASSAGE_CHARACTERS:
        end = start + PASSAGE_CHARACTERS
        least = start + PASSAGE_CHARACTERS // 2
        seam = text.rfind("\n", least, end)
        if seam < 0:
            seam = text.rfind(" ", least, end)
        cut = end if seam < 0 else seam + 1
        pieces.append(text[start:cut])
        start = cut
    return [*pieces, text[start:]]


class Recall:
    """One conversation, ready to be asked which of its messages bear on a query. Grows, never shrinks.

    About 2 kB a message beside its words. Not for several threads at once.
    """

    def __init__(self, weights: Weights = WEIGHTS, dimensions: int = DIMENSIONS) -> None:
        self._weights = weights
        self._row_bytes = 4 * dimensions
        self._words = WordIndex()
        self._sittings: list[int] = []
        self._last_time: float | None = None
        self._vectors = bytearray()
        self._owners: list[int] = []

    def __len__(self) -> int:
        return len(self._sittings)

    def add(self, message: Remembered, vectors: bytes = b"") -> None:
        """The next message, oldest first. `vectors` are those of its `passages` one after the other: float32, as
        `Vectors.tobytes()` gives them and as they are stored. Without any the message is found by its words alone.

        Raises `ValueError` where that is not a whole number of vectors.
        """
        rows, rest = divmod(len(vectors), self._row_bytes)
        if rest:
            raise ValueError(f"{len(vectors)} bytes are not vectors of {self._row_bytes} bytes each")
        self._owners += [len(self._sittings)] * rows
        self._vectors += vectors
        self._words.add(_searchable(message))
        self._sittings.append(self._sitting(message.created_at))

    def _sitting(self, created_at: datetime | None) -> int:
        time = created_at.timestamp() if created_at is not None else self._last_time
        before, self._last_time = self._last_time, time
        if not self._sittings:
            return 0
        paused = before is not None and time is not None and abs(time - before) > PAUSE_SECONDS
        return self._sittings[-1] + paused

    def scores(self, query: str, vector: Vectors | None = None) -> list[float]:
        """How much each message bears on the query, in the order they were added; higher is more.

        `vector` is the query's embedding, (dimensions,); None: by words alone. Comparable within one answer only.
        """
        words = _standard(self._words.scores(query))
        meaning = _standard(self._similarities(vector))
        own = [m + self._weights.words * w for m, w in zip(meaning, words, strict=True)]
        near = _with_neighbours(own, self._sittings, self._weights.neighbours)
        return _with_sittings(near, self._sittings, self._weights.sitting)

    def _similarities(self, vector: Vectors | None) -> list[float | None]:
        """The cosine of each message's best passage; None for a message without vectors."""
        similarities: list[float | None] = [None] * len(self)
        if vector is None or not self._owners:
            return similarities
        import numpy as np  # here: who has a vector to ask with has loaded it

        rows = np.frombuffer(self._vectors, np.float32).reshape(len(self._owners), -1)
        for owner, cosine in zip(self._owners, (rows @ vector).tolist(), strict=True):
            known = similarities[owner]
            if known is None or cosine > known:
                similarities[owner] = cosine
        return similarities


def ranking(scores: Sequence[float]) -> list[int]:
    """Positions, best first; among equals the newer one first."""
    return sorted(range(len(scores)), key=lambda i: (-scores[i], -i))


def _searchable(message: Remembered) -> str:
    """A message's words, who said it, and the date as people write it: "what did Ann say on 5 May?"."""
    parts = [message.speaker or ""]
    at = message.created_at
    if at is not None:
        parts.append(f"{_DAYS[at.weekday()]} {at.day} {_MONTHS[at.month - 1]} {at.year}")
    return " ".join([*parts, message.text])


def _standard(values: Sequence[float | None]) -> list[float]:
    """In standard deviations from the mean of what is known; what is unknown is average."""
    known = [value for value in values if value is not None]
    if not known:
        return [0.0] * len(values)
    mean = math.fsum(known) / len(known)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / len(known))
    if deviation < 1e-9:
        return [0.0] * len(values)
    return [0.0 if value is None else (value - mean) / deviation for value in values]


def _with_neighbours(scores: Sequence[float], sittings: Sequence[int], shares: Sequence[float]) -> list[float]:
    out = list(scores)
    for distance, share in enumerate(shares, start=1):
        for here, there in zip(range(len(scores)), range(distance, len(scores)), strict=False):
            if sittings[here] == sittings[there]:
                out[here] += share * scores[there]
                out[there] += share * scores[here]
    return out


def _with_sittings(scores: Sequence[float], sittings: Sequence[int], weight: float) -> list[float]:
    groups: dict[int, list[float]] = {}
    placed = list(zip(sittings, scores, strict=True))
    for sitting, score in placed:
        groups.setdefault(sitting, []).append(score)
    worth = {sitting: _mean_of_best(members) for sitting, members in groups.items()}
    return [score + weight * worth[sitting] for sitting, score in placed]


def _mean_of_best(scores: Sequence[float]) -> float:
    best = sorted(scores, reverse=True)[:SITTING_BEST]
    return math.fsum(best) / len(best)
