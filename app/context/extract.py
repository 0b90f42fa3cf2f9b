"""A summary without a model: the sentences that carry most of a text, in their order. Pure and deterministic."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

CHARACTERS_PER_TOKEN = 3
"""Cautious: English has about four, code about three."""
LONGEST_SENTENCE = 400
MOST_SENTENCES = 5_000

_SENTENCE_END = re.compile(r"(?<=[.!?。!?])\s+|\n+")
_WORD = re.compile(r"[^\W\d_]{3,40}")
_FACT = re.compile(r"\d|[\w-]+[/\\][\w./\\-]+|\w+_\w+|`[^`]{1,80}`")


def extractive_summary(text: str, max_tokens: int) -> str:
    """At most about `max_tokens` tokens of `text`'s own sentences, one per line.

    A sentence scores by how much of the text's recurring vocabulary it holds, a little more where it names a number, a
    path or an identifier, and more towards the end, where a conversation arrives; filler is left out.
    """
    room = max(0, max_tokens) * CHARACTERS_PER_TOKEN
    sentences = sentences_of(text)[-MOST_SENTENCES:]
    words = [set(_WORD.findall(sentence.lower())) for sentence in sentences]
    frequency = Counter(word for found in words for word in found)
    scores = [_score(sentence, words[i], frequency, i / len(sentences)) for i, sentence in enumerate(sentences)]
    chosen: list[int] = []
    telling = [index for index, score in enumerate(scores) if score > 0] or list(range(len(sentences)))
    for index in sorted(telling, key=lambda i: (-scores[i], i)):
        cost = len(sentences[index]) + 1
        if cost <= room:
            chosen.append(index)
            room -= cost
    return "\n".join(sentences[index] for index in sorted(chosen))


def sentences_of(text: str) -> list[str]:
    """Sentences and lines, trimmed, cut at `LONGEST_SENTENCE` characters, each distinct one once."""
    parts = (part.strip()[:LONGEST_SENTENCE].strip() for part in _SENTENCE_END.split(text))
    return list(dict.fromkeys(part for part in parts if part and not part.startswith("```")))


def _score(sentence: str, words: set[str], frequency: Counter[str], position: float) -> float:
    recurring = sum(math.log(frequency[word]) for word in sorted(words) if frequency[word] > 1)
    return (recurring / (8 + len(words)) + 0.3 * bool(_FACT.search(sentence))) * (1 + 0.2 * position)


def first_fitting(lines: Sequence[str], characters: int) -> list[str]:
    """The longest beginning of `lines` that stays within so many characters."""
    taken: list[str] = []
    for line in lines:
        characters -= len(line) + 1
        if characters < 0:
            break
        taken.append(line)
    return taken
