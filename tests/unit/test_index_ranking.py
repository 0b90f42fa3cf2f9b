"""What of a chunk is searched, and how two rankings become one: pure."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.memory.chunks import Chunk
from app.memory.hybrid import Candidate, Distinct, Weights, fuse, standard
from app.memory.searchable import (
    MAX_CONTEXT_CHARACTERS,
    MAX_PASSAGES,
    PASSAGE_CHARACTERS,
    query_terms,
    searchables,
    windows,
)

TEXTS = st.text(alphabet=st.sampled_from("ab _({<:\n\r\u2028é日\0"), max_size=3_000)


def chunk(text: str, *, path: str = "a.py", line: int = 1, symbol: str | None = None, header: str = "") -> Chunk:
    return Chunk(f"c{line}", path, line, line, text, symbol, None, "h", header)


class TestWindows:
    @given(TEXTS, st.integers(1, 200))
    def test_each_is_bounded_and_taken_from_the_text_in_order(self, text: str, size: int) -> None:
        found = windows(text, size)
        assert 1 <= len(found) <= MAX_PASSAGES
        assert all(len(window) <= size for window in found) or found == [text]
        at = 0
        for window in found:
            at = text.index(window, at) if window in text[at:] else pytest.fail(f"{window!r} is not in order")
        assert text.startswith(found[0])
        assert text.endswith(found[-1])

    @given(st.lists(st.text(alphabet="xyz ", min_size=1, max_size=60), min_size=1, max_size=30))
    def test_they_cover_the_text_and_overlap(self, lines: list[str]) -> None:
        text = "\n".join(lines)
        found = windows(text, 600)
        if len(found) < MAX_PASSAGES:
            covered = set().union(*(window.split("\n") for window in found))
            assert covered >= set(lines)


class TestSearchable:
    def test_the_path_the_class_around_and_the_names_defined_stand_before_each_passage(self) -> None:
        first = chunk("class Turbine:\n    speed = 1\n", path="plant/t.py")
        second = chunk("    def spin(self):\n" + "        x = 1\n" * 120, path="plant/t.py", line=3)
        other = chunk("def stop(): ...", path="b.py", line=4)
        found = searchables([second, other, first])  # whatever the order
        assert len(found[0].passages) > 1
        assert all(passage.startswith("plant/t.py Turbine spin\n") for passage in found[0].passages)
        assert found[1].passages == ("b.py stop\ndef stop(): ...",)
        assert {"turbin", "plant"} <= set(found[0].terms.split())

    def test_a_symbol_and_a_header_that_are_given_are_used_instead(self) -> None:
        (found,) = searchables([chunk("x = 1", symbol="Router.stream", header="app/router.py in Router")])
        assert found.passages == ("app/router.py in Router Router.stream\nx = 1",)

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("pub fn merge_tables<T>(a: T) {", "merge_tables"),
            ("impl<T> Display for Grid<T> {", "Grid"),
            ("func (s *Server) Serve(ctx context.Context) error {", "Serve"),
            ("  public static int count(List<String> names) {", "count"),
            ("export interface Props {", "Props"),
            ("void Log::flush(int level)", "Log::flush"),
            ("macro_rules! ensure {", "ensure"),
        ],
    )
    def test_names_are_read_off_many_languages(self, text: str, name: str) -> None:
        (found,) = searchables([chunk(text, path="f")])
        assert name in found.passages[0].partition("\n")[0].split()

    @pytest.mark.parametrize("text", ["return count(x)", "if (a) {", "x = 1", "await run("])
    def test_and_not_off_statements(self, text: str) -> None:
        (found,) = searchables([chunk(text, path="f")])
        assert found.passages[0].partition("\n")[0] == "f"

    @given(TEXTS)
    def test_any_text_has_one_to_eight_bounded_passages(self, text: str) -> None:
        (found,) = searchables([chunk(text)])
        longest = MAX_CONTEXT_CHARACTERS + 1 + PASSAGE_CHARACTERS
        assert 1 <= len(found.passages) <= MAX_PASSAGES
        assert all(len(passage) <= longest for passage in found.passages)

    @pytest.mark.parametrize(
        "text", ["a " * 500_000, "x" * 1_000_000, "\n" * 500_000, "impl<" * 200_000, ("class " * 39 + "\n") * 3_000]
    )
    def test_no_text_is_slow(self, text: str) -> None:
        began = time.process_time()
        searchables([chunk(text)])
        assert time.process_time() - began < 1.0

    def test_a_long_query_is_searched_by_its_ends(self) -> None:
        words = [f"word{chr(97 + n // 26)}{chr(97 + n % 26)}q" for n in range(200)]
        found = query_terms(" ".join(words), 10)
        assert (len(found), found[0], found[-1]) == (10, words[0], words[-1])


class TestFusion:
    def test_both_rankings_count_and_a_file_lifts_its_chunks(self) -> None:
        candidates = [Candidate("a", 5.0, 0.9), Candidate("a", 0.0, 0.2), Candidate("b", 0.0, 0.2)]
        best, sibling, other = fuse(candidates)
        assert best > sibling > other
        alone = fuse(candidates, Weights(file=0.0))
        assert alone[1] == alone[2]

    @given(st.lists(st.tuples(st.floats(0, 50), st.none() | st.floats(-1, 1)), max_size=30))
    def test_more_of_either_never_ranks_lower(self, values: list[tuple[float, float | None]]) -> None:
        candidates = [Candidate(n, words, similarity) for n, (words, similarity) in enumerate(values)]
        scores = fuse(candidates)
        known = [
            (c.words, c.similarity, s) for c, s in zip(candidates, scores, strict=True) if c.similarity is not None
        ]
        for words, similarity, score in known:
            for more_words, more_similarity, higher in known:
                if more_words >= words and more_similarity >= similarity:
                    assert higher >= score - 1e-9

    def test_what_is_unknown_is_average(self) -> None:
        assert standard([1.0, None, 3.0]) == [-1.0, 0.0, 1.0]
        assert standard([None, None]) == [0.0, 0.0]
        assert standard([2.0, 2.0]) == [0.0, 0.0]
        assert standard([]) == []


class TestThinning:
    @staticmethod
    def kept(texts: Iterable[str]) -> list[str]:
        distinct = Distinct()
        return [text for text in texts if distinct.new(text)]

    def test_the_second_of_two_that_nearly_agree_goes(self) -> None:
        text = " ".join(f"w{n}" for n in range(50))
        different = text.replace("w25", "x").replace("w40", "y")
        assert self.kept([f"{text} more", text, "other words", different]) == [f"{text} more", "other words", different]

    @given(st.lists(st.text(alphabet="ab ", max_size=12), max_size=12))
    def test_the_order_stays_the_first_stays_and_nothing_twice(self, texts: list[str]) -> None:
        kept = self.kept(texts)
        places = [texts.index(text) for text in kept]
        assert places == sorted(set(places))
        assert kept[:1] == texts[:1]
