"""Recall: which older messages bear on a query."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.memory.lexical import MAX_INDEXED_CHARACTERS, MAX_QUERY_TERMS, WordIndex
from app.memory.recall import (
    MAX_PASSAGES,
    PASSAGE_CHARACTERS,
    PAUSE_SECONDS,
    Recall,
    Remembered,
    Weights,
    passages,
    ranking,
)

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
FILLER = ["nothing much happened", "that is fine with me", "let us go on then", "all good here", "sounds right"]
OWN = Weights(neighbours=(), sitting=0.0)
"""A message's own relevance alone."""


def recall_of(*messages: Remembered | str, weights: Weights | None = None) -> Recall:
    recall = Recall(weights or Weights())
    for message in messages:
        recall.add(message if isinstance(message, Remembered) else Remembered(message))
    return recall


def best(recall: Recall, query: str) -> int:
    return ranking(recall.scores(query))[0]


class TestByWords:
    def test_the_message_with_the_words_comes_first(self) -> None:
        recall = recall_of(*FILLER, "we settled on PostgreSQL for the billing service", *FILLER)
        assert best(recall, "Which database did we settle on for billing?") == len(FILLER)

    def test_parts_of_identifiers_are_words(self) -> None:
        recall = recall_of(*FILLER, "the fix is in parseRetryAfter, it read minutes", *FILLER)
        assert best(recall, "what was wrong with the retry header?") == len(FILLER)

    def test_the_date_is_found_as_people_write_it(self) -> None:
        days = [Remembered("we talked about the plan", START + timedelta(days=day)) for day in range(30)]
        assert best(recall_of(*days), "what was the plan on 17 May 2026?") == 13

    def test_who_spoke_is_found(self) -> None:
        said = [Remembered("my favourite colour is blue", speaker=name) for name in ("Ann", "Bert", "Cleo", "Dora")]
        assert best(recall_of(*said, weights=OWN), "What is Cleo's favourite colour?") == 2

    def test_a_query_that_shares_nothing_ranks_by_age(self) -> None:
        recall = recall_of(*FILLER)
        assert recall.scores("xylophone") == [0.0] * len(FILLER)
        assert ranking(recall.scores("xylophone")) == [4, 3, 2, 1, 0]


class TestByMeaning:
    def _recall(self, angles: list[list[float]], weights: Weights = OWN) -> Recall:
        """Messages without words in common, with passages at these angles (degrees) from the query (1, 0)."""
        recall = Recall(weights, dimensions=2)
        for passage in angles:
            radians = np.radians(passage)
            vectors = np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)
            recall.add(Remembered("…"), vectors.tobytes())
        return recall

    QUERY = np.array([1, 0], np.float32)

    def test_the_nearest_passage_decides(self) -> None:
        recall = self._recall([[80], [70, 10, 90], [30], [60]])
        assert ranking(recall.scores("x", self.QUERY)) == [1, 2, 3, 0]

    def test_scores_are_standard_deviations_of_the_cosine(self) -> None:
        cosines = [math.cos(math.radians(angle)) for angle in (10, 50, 90)]
        mean = sum(cosines) / 3
        deviation = math.sqrt(sum((c - mean) ** 2 for c in cosines) / 3)
        scores = self._recall([[10], [50], [90]]).scores("x", self.QUERY)
        assert scores == pytest.approx([(c - mean) / deviation for c in cosines], abs=1e-5)

    def test_a_message_without_vectors_is_average(self) -> None:
        assert ranking(self._recall([[10], [], [90]]).scores("x", self.QUERY)) == [0, 1, 2]

    def test_without_the_query_s_vector_words_are_left(self) -> None:
        recall = self._recall([[0], [90]])
        recall.add(Remembered("the budget is spent"))
        assert best(recall, "budget") == 2

    def test_bytes_that_are_no_vectors_are_refused_and_nothing_is_added(self) -> None:
        recall = Recall()
        with pytest.raises(ValueError, match="10 bytes"):
            recall.add(Remembered("x"), b"0123456789")
        assert len(recall) == 0


class TestNeighbours:
    def test_an_answer_comes_with_its_question(self) -> None:
        messages = [*FILLER, "Which port does the ledger's exporter listen on?", "On 9187.", *FILLER]
        order = ranking(recall_of(*messages).scores("the port of the exporter"))
        assert order[0] == len(FILLER)
        assert len(FILLER) + 1 in order[1:3]

    def test_a_pause_parts_neighbours(self) -> None:
        def order(pause: float) -> list[int]:
            later = START + timedelta(seconds=pause)
            before = [Remembered(text, START) for text in (*FILLER, "the exporter listens on a port")]
            after = [Remembered(text, later) for text in ("good morning", *FILLER)]
            return ranking(recall_of(*before, *after).scores("exporter port"))

        hit = len(FILLER)
        assert hit + 1 in order(PAUSE_SECONDS / 2)[:3]
        assert hit + 1 not in order(PAUSE_SECONDS * 2)[: hit + 1]

    def test_messages_of_the_same_sitting_are_lifted(self) -> None:
        first = [Remembered(text, START) for text in (*FILLER, "the exporter listens on a port", *FILLER)]
        second = [Remembered(text, START + timedelta(days=1)) for text in FILLER * 2]
        order = ranking(recall_of(*first, *second).scores("exporter port"))
        assert max(order.index(i) for i in range(len(first))) < min(order.index(i) for i in range(len(first), 21))


class TestPassages:
    def test_a_short_message_is_one_with_its_speaker(self) -> None:
        assert passages(Remembered(" hello\n", speaker="Ann")) == ("Ann: hello",)
        assert passages(Remembered("hello")) == ("hello",)
        assert passages(Remembered("")) == ("",)

    @given(st.text(alphabet="ab \n", max_size=4 * PASSAGE_CHARACTERS) | st.text(max_size=50))
    def test_together_they_are_the_message(self, text: str) -> None:
        pieces = passages(Remembered(text))
        assert "".join(pieces) == text.strip()
        assert all(len(piece) <= PASSAGE_CHARACTERS for piece in pieces)

    def test_lines_stay_whole(self) -> None:
        lines = [f"line {i} of a file with some more words in it" for i in range(60)]
        assert all(piece.startswith("line") for piece in passages(Remembered("\n".join(lines))))

    def test_a_long_message_gives_its_beginning_and_its_end(self) -> None:
        log = "\n".join(f"{i:06} waiting for the lock" for i in range(50_000)) + "\nDeadlockDetected"
        pieces = passages(Remembered(log, speaker="Ann"))
        assert len(pieces) == MAX_PASSAGES
        assert pieces[0].startswith("Ann: 000000")
        assert pieces[-1].endswith("DeadlockDetected")


class TestWordIndex:
    def test_it_is_okapi_bm25(self) -> None:
        texts = ["router router budget", "router ledger", "ledger ledger window session"]
        index = WordIndex()
        for text in texts:
            index.add(text)
        average = 9 / 3

        def expected(text: str) -> float:
            words, total = text.split(), 0.0
            for term in ("router", "budget"):
                holding = sum(term in other.split() for other in texts)
                idf = math.log(1 + (3 - holding + 0.5) / (holding + 0.5))
                count = words.count(term)
                total += idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(words) / average))
            return total

        assert index.scores("Budget of the router") == pytest.approx([expected(text) for text in texts])
        assert index.scores("") == [0.0, 0.0, 0.0]

    def test_a_very_long_text_is_known_by_its_ends(self) -> None:
        index = WordIndex()
        index.add(
            "alpha " + "filler " * MAX_INDEXED_CHARACTERS + "middle " + "filler " * MAX_INDEXED_CHARACTERS + "omega"
        )
        assert index.scores("alpha")[0] > 0
        assert index.scores("omega")[0] > 0
        assert index.scores("middle")[0] == 0

    def test_a_very_long_query_is_searched_by_its_rarest_words(self) -> None:
        common = sorted("".join(letters) for letters in product("kmnpq", repeat=3))
        assert len(common) > MAX_QUERY_TERMS
        index = WordIndex()
        for _ in range(5):
            index.add(" ".join(common))
        index.add("zulu")
        assert index.scores(" ".join([*common, "zulu"])) == index.scores(
            " ".join(["zulu", *common[: MAX_QUERY_TERMS - 1]])
        )


words = st.sampled_from(["router", "budget", "ledger", "window", "session", "the", "retryAfter", "界面", "9187"])
texts = st.lists(words, max_size=6).map(" ".join)


@given(st.lists(st.tuples(texts, st.integers(0, 5), st.booleans()), max_size=25), texts)
def test_scores_are_finite_the_same_again_and_rank_every_message_once(
    history: list[tuple[str, int, bool]], query: str
) -> None:
    def built() -> list[float]:
        recall, random = Recall(dimensions=4), np.random.default_rng(1)
        for text, hours, embedded in history:
            vectors = random.normal(size=(1 + hours, 4)).astype(np.float32).tobytes() if embedded else b""
            recall.add(Remembered(text, START + timedelta(hours=hours)), vectors)
        return recall.scores(query, np.ones(4, np.float32))

    scores = built()
    assert scores == built()
    assert len(scores) == len(history)
    assert all(map(math.isfinite, scores))
    order = ranking(scores)
    assert sorted(order) == list(range(len(history)))
    assert all((scores[a], a) > (scores[b], b) for a, b in pairwise(order))


def test_the_answer_does_not_change_with_the_process() -> None:
    code = (
        "from app.memory.recall import *\n"
        "r = Recall()\n"
        "for i in range(40): r.add(Remembered(' '.join(f'w{i * j % 17}x' for j in range(9))))\n"
        "print(r.scores(' '.join(f'w{i}x' for i in range(17))))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            cwd=ROOT,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(answers) == 1
