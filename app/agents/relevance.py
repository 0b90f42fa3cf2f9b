"""How much an item bears on a topic, and whether it says what another said before. Computed on this machine.

By meaning: the cosine of all-MiniLM-L6-v2's vectors. Without the embedding model: the share of the topic's words that
stand in the item, which is coarser and on the same scale.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from app.agents.feeds import Item
from app.memory.embedder import Embedder, Urgency
from app.memory.model_files import EmbedderUnavailable

if TYPE_CHECKING:
    from app.memory.embedder import Vectors

KEYWORD: Final = 0.15
"""Added where one of the topic's keywords stands in the item."""
PORTION: Final = 64
"""Items embedded at once: bounds memory, and lets more urgent texts through in between."""
SAME_MEANING: Final = 0.93
"""Cosine from which two items are one story. Two stories on one subject reach about 0.8."""
SAME_WORDS: Final = 0.8
"""The same without vectors: shared words over all words (Jaccard)."""
READ_CHARACTERS: Final = 1_000
"""Of an item for its vector: what the model reads of it anyway."""

_WORD = re.compile(r"[^\W_]{3,}")
_COMMON = frozenset(
    re.findall(r"\w+", "the and for with from into that this are was its our your about how what new using over")
)


@dataclass(frozen=True, slots=True)
class Topic:
    """`about`: a sentence or two on what is wanted. `keywords` raise the score of what holds one of them."""

    name: str
    about: str = ""
    keywords: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.name}. {self.about}" if self.about else self.name


@dataclass(frozen=True, slots=True)
class Scored:
    """`score`: 0 to 1, for the topic it bears on most. `vector` None: there is no embedding model."""

    item: Item
    topic: str
    score: float
    vector: Vectors | None


def topic_of(entry: str | Mapping[str, Any]) -> Topic:
    """Out of an entry of `topics`, which fits its schema."""
    if isinstance(entry, str):
        return Topic(entry)
    return Topic(str(entry["name"]), str(entry.get("about", "")), tuple(map(str, entry.get("keywords", ()))))


@dataclass(slots=True)
class Scorer:
    """Scores items against topics. `by_meaning` turns False at the first text that cannot be embedded."""

    topics: Sequence[Topic]
    embedder: Embedder
    by_meaning: bool = True
    _vectors: Vectors | None = None

    async def score(self, items: Sequence[Item]) -> list[Scored]:
        """In the order given."""
        found: list[Scored] = []
        for start in range(0, len(items), PORTION):
            found += await self._portion(items[start : start + PORTION])
        return found

    async def _portion(self, items: Sequence[Item]) -> list[Scored]:
        vectors = await self._embedded([item.whole[:READ_CHARACTERS] for item in items])
        scored = []
        for at, item in enumerate(items):
            if vectors is None or self._vectors is None:
                bases = [word_share(topic.text, item.whole) for topic in self.topics]
            else:
                bases = [float(cosine) for cosine in self._vectors @ vectors[at]]
            sums = [_with_keywords(base, topic, item) for base, topic in zip(bases, self.topics, strict=True)]
            best = max(range(len(sums)), key=sums.__getitem__)
            vector = None if vectors is None else vectors[at].copy()
            scored.append(Scored(item, self.topics[best].name, sums[best], vector))
        return scored

    async def _embedded(self, texts: Sequence[str]) -> Vectors | None:
        if not self.by_meaning:
            return None
        try:
            if self._vectors is None:
                self._vectors = await self.embedder.embed([topic.text for topic in self.topics], Urgency.INDEX)
            return await self.embedder.embed(texts, Urgency.INDEX)
        except EmbedderUnavailable:
            self.by_meaning = False
            return None


def _with_keywords(base: float, topic: Topic, item: Item) -> float:
    folded = item.whole.casefold()
    held = any(keyword.casefold() in folded for keyword in topic.keywords)
    return min(1.0, max(0.0, base) + (KEYWORD if held else 0.0))


def words_of(text: str) -> frozenset[str]:
    """The words by which texts are compared: three letters and more, without the commonest."""
    return frozenset(word for word in _WORD.findall(text.casefold()) if word not in _COMMON)


def word_share(topic: str, text: str) -> float:
    """Of the topic's words, how many stand in the text: 0 to 1."""
    wanted = words_of(topic)
    return len(wanted & words_of(text)) / len(wanted) if wanted else 0.0


@dataclass(slots=True)
class Stories:
    """What was told before, to compare with."""

    _told: list[tuple[str, str, frozenset[str], Vectors | None]] = field(default_factory=list)

    def add(self, source: str, title: str, text: str, vector: Vectors | None) -> None:
        self._told.append((source, _headline(title), words_of(f"{title} {text}"[:READ_CHARACTERS]), vector))

    def knows(self, scored: Scored) -> bool:
        """Whether the item tells what another told. Within one source only under the same title: one release's notes
        are like the next one's."""
        item = scored.item
        headline, words = _headline(item.title), words_of(f"{item.title} {item.text}"[:READ_CHARACTERS])
        for source, title, known, vector in self._told:
            if source == item.source and title != headline:
                continue
            if scored.vector is not None and vector is not None and len(vector) == len(scored.vector):
                if float(vector @ scored.vector) >= SAME_MEANING:
                    return True
            elif len(known & words) >= SAME_WORDS * max(1, len(known | words)):
                return True
        return False


def _headline(title: str) -> str:
    return " ".join(title.casefold().split())


def to_stored(vector: Vectors | None) -> str:
    """A vector as text for a document: half precision, base64; 1 KB."""
    return "" if vector is None else base64.b64encode(vector.astype("<f2").tobytes()).decode()


def from_stored(text: str) -> Vectors | None:
    """None where there is none, or it cannot be read."""
    if not text:
        return None
    import numpy as np  # only where there is a vector to compare

    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
    except ValueError:
        return None
