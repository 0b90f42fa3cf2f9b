"""What a search of the index finds, and how near: by words, by meaning, by words alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.memory.embedder import Embedder
from app.memory.hits import IndexStats
from app.memory.index import WorkspaceIndex
from tests.fakes import tiny_minilm
from tests.unit.tiny_index import chunk, paths, tiny_embedder, tiny_index

T = TypeVar("T")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
async def embedder(tmp_path: Path) -> AsyncIterator[Embedder]:
    async with tiny_embedder(tmp_path / "model") as embedder:
        yield embedder


@pytest.fixture
async def index(folder: Path, embedder: Embedder) -> AsyncIterator[WorkspaceIndex]:
    async with tiny_index(folder, embedder) as index:
        yield index


class TestSearch:
    async def test_identifiers_are_found_by_their_parts_and_parts_by_the_identifier(
        self, index: WorkspaceIndex
    ) -> None:
        await index.upsert(
            "w",
            [
                chunk("a.py", "def get_user_name(): ..."),
                chunk("b.py", "let retryBudget = 3"),
                chunk("c.py", "print(1)"),
            ],
        )
        for query, path in [("user name", "a.py"), ("getUserName", "a.py"), ("retry_budget", "b.py")]:
            assert (await paths(index, "w", query, vector=False))[0] == path

    async def test_the_path_and_the_symbol_are_searched_too(self, index: WorkspaceIndex) -> None:
        await index.upsert(
            "w",
            [chunk("billing/invoice.py", "x = 1"), chunk("b.py", "y = 2", symbol="Router.stream"), chunk("c.py", "z")],
        )
        assert await paths(index, "w", "invoice", vector=False) == ["billing/invoice.py"]
        assert await paths(index, "w", "Router stream", vector=False) == ["b.py"]

    async def test_a_chunk_is_found_by_the_class_that_an_earlier_chunk_opened(self, index: WorkspaceIndex) -> None:
        await index.upsert(
            "w",
            [
                chunk("a.py", "class Turbine:\n    pass", line=1),
                chunk("a.py", "    def spin(self):\n        return 1", line=3),
                chunk("b.py", "    def spin(self):\n        return 2", line=3),
            ],
        )
        hits = await index.search("w", "spin of Turbine", vector=False)
        assert (hits[0].chunk.path, hits[0].chunk.start_line) == ("a.py", 3)

    async def test_nearness_is_the_cosine_to_the_nearest_passage(
        self, index: WorkspaceIndex, embedder: Embedder
    ) -> None:
        texts = ["the router picks a model", "a budget of tokens", "sessions and their state"]
        vectors = await embedder.embed([*texts, "a router of models"])
        assert await index.nearness("w", vectors[-1]) is None
        await index.upsert("w", [chunk(f"{n}.py", text) for n, text in enumerate(texts)])
        hits = await index.search("w", "a router of models", k=3)
        found = await index.nearness("w", vectors[-1])
        assert found == pytest.approx(max(hit.similarity or 0.0 for hit in hits), abs=0.02)
        assert await index.nearness("other", vectors[-1]) is None

    async def test_similarity_is_the_cosine_also_once_the_vectors_are_indexed(
        self, folder: Path, embedder: Embedder
    ) -> None:
        index = WorkspaceIndex(folder, embedder, dimensions=tiny_minilm.HIDDEN, flat_rows=41)
        texts = [f"the router falls back {'budget ' * (n % 7)}{'is spent ' * (n // 7)}{n}" for n in range(40)]
        chunks = [chunk(f"{n}.txt", text) for n, text in enumerate(texts)]
        await index.upsert("w", chunks)
        chunks.append(chunk("40.txt", "zebra"))
        asked = await embedder.question("budget is spent")
        passages = await embedder.embed([f"{c.path}\n{c.text}" for c in chunks])
        cosines = dict(zip((c.id for c in chunks), (passages @ asked).tolist(), strict=True))
        for indexed in (False, True):
            if indexed:
                await index.upsert("w", [chunk("40.txt", "zebra")])
            await index.maintain()
            assert (await index.stats("w")).vector_index is indexed
            hits = await index.search("w", "budget is spent", k=20)
            found = [hit.similarity for hit in hits]
            np.testing.assert_allclose(
                np.array(found, float), [cosines[hit.chunk.id] for hit in hits], atol=1e-5, err_msg=str(indexed)
            )
            nearest = max(cosines, key=lambda chunk_id: cosines[chunk_id])
            best = {hit.vector_rank: hit for hit in await index.search("w", "budget is spent", k=40)}
            assert best[1].similarity == pytest.approx(cosines[nearest], abs=1e-5)
        await index.aclose()

    async def test_near_duplicates_are_thinned(self, index: WorkspaceIndex) -> None:
        licence = " ".join(f"word{n}" for n in range(60))
        await index.upsert("w", [chunk(f"{n}.py", f"{licence} {n}") for n in range(5)] + [chunk("x.py", "word3 alone")])
        found = await paths(index, "w", "word3")
        assert len(found) == 2
        assert "x.py" in found

    async def test_a_hundred_near_duplicates_are_read_in_few_rounds(self, folder: Path, embedder: Embedder) -> None:
        class Counting(WorkspaceIndex):
            asked = 0

            async def _ask(self, workspace: str, request: Awaitable[T]) -> T:
                Counting.asked += 1
                return await super()._ask(workspace, request)

        index = Counting(folder, embedder, dimensions=tiny_minilm.HIDDEN)
        licence = " ".join(f"word{n}" for n in range(60))
        await index.upsert("w", [chunk(f"{n}.py", f"{licence} {n}") for n in range(100)])
        Counting.asked = 0
        assert len(await index.search("w", "word3", k=2, vector=False)) == 1
        await index.aclose()
        assert Counting.asked <= 1 + 5  # full text, then 4, 8, 16, 32 and the rest

    async def test_no_more_than_asked_for_best_first(self, index: WorkspaceIndex) -> None:
        await index.upsert("w", [chunk(f"{n}.py", f"budget {f'x{n} ' * n}end{n}") for n in range(30)])
        hits = await index.search("w", "budget", k=3)
        assert len(hits) == 3
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)

    @pytest.mark.parametrize("query", ["", "  \n", "the", "' OR 1=1 --", "\udcff", "a" * 20_000, "( ) AND NOT *", "\0"])
    async def test_any_query_has_an_answer(self, index: WorkspaceIndex, query: str) -> None:
        await index.upsert("w", [chunk("a.py", "the budget")])
        for vector in (True, False):
            assert len(await index.search("w", query, vector=vector)) <= 1

    @pytest.mark.parametrize("k", [0, -1, 101])
    async def test_k_out_of_range_is_refused(self, index: WorkspaceIndex, k: int) -> None:
        with pytest.raises(InvalidRequest, match="k: expected 1 to 100"):
            await index.search("w", "x", k=k)


class TestWithoutTheModel:
    async def test_words_alone_until_the_model_is_there(self, folder: Path, tmp_path: Path) -> None:
        package = tiny_minilm.write(tmp_path / "model")
        (tmp_path / "model").rename(tmp_path / "away")
        embedder = Embedder(tmp_path / "model", threads=1, package=package)
        index = WorkspaceIndex(folder, embedder, dimensions=tiny_minilm.HIDDEN)
        await index.upsert("w", [chunk(f"{n}.py", f"budget {n}\n" * 100) for n in range(3)])
        (hit, *_) = await index.search("w", "budget")
        assert (hit.similarity, hit.vector_rank, hit.lexical_rank is None) == (None, None, False)
        assert await index.stats("w") == IndexStats(3, 3, 0, 3)
        await index.maintain()
        assert (await index.stats("w")).without_vectors == 3
        (tmp_path / "away").rename(tmp_path / "model")
        await index.maintain()
        stats = await index.stats("w")
        assert (stats.chunks, stats.without_vectors, stats.vectors > 3) == (3, 0, True)
        assert all(hit.similarity is not None for hit in await index.search("w", "budget"))
        await index.aclose()
        await embedder.aclose()
