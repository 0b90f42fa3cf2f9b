"""The index on a real LanceDB: what is stored, found, replaced, kept apart and lost; with a tiny real model."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pytest

from app.errors import InvalidRequest
from app.memory import index_rows
from app.memory.chunks import Chunk, chunk_id
from app.memory.embedder import Embedder
from app.memory.hits import IndexStats, IndexUnavailable
from app.memory.index import MAINTAIN_AFTER, WorkspaceIndex
from tests.fakes import tiny_minilm

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
ODD_PATHS = [
    "it's.py",
    'a"b.py',
    "x' OR 1=1 --",
    "line\nend.py",
    "back\\slash",
    "\udcff.py",
    "ü/日本.py",
    "%_*.py",
    "\0",
]


def chunk(path: str, text: str, *, line: int = 1, whole: str = "h1", **extra: str) -> Chunk:
    made = Chunk(chunk_id(path, text, line), path, line, line + text.count("\n"), text, None, "python", whole)
    return replace(made, **extra)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
async def embedder(tmp_path: Path) -> AsyncIterator[Embedder]:
    package = tiny_minilm.write(tmp_path / "model")
    embedder = Embedder(tmp_path / "model", threads=1, package=package)
    yield embedder
    await embedder.aclose()


@pytest.fixture
async def index(folder: Path, embedder: Embedder) -> AsyncIterator[WorkspaceIndex]:
    index = WorkspaceIndex(folder, embedder, dimensions=tiny_minilm.HIDDEN)
    yield index
    await index.aclose()


async def paths(index: WorkspaceIndex, workspace: str, query: str, **options: bool) -> list[str]:
    return [hit.chunk.path for hit in await index.search(workspace, query, **options)]


def damage(folder: Path) -> None:
    for manifest in folder.rglob("*.manifest"):
        manifest.write_bytes(b"\0" * 64)


def write_and_be_killed(folder: Path, model: Path, turn: int) -> dict[str, str]:
    """Each path and content hash that the child said was stored."""
    command = [sys.executable, "-m", "tests.unit.index_child", str(folder), str(model), str(turn)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(5 + turn)]
    child.kill()
    lines += child.communicate()[0].splitlines(keepends=True)
    assert lines[4].endswith("\n"), "the child ended by itself"
    return dict(line.split() for line in lines if line.endswith("\n"))


def mark(whole: str) -> tuple[int, ...]:
    return tuple(map(int, whole.split(".")))


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


class TestWrites:
    async def test_a_chunk_comes_back_as_it_was(self, index: WorkspaceIndex) -> None:
        stored = [
            Chunk(
                f"id-{n}", path, n + 1, n + 3, f"needle\r\n\ttext \0 {n}", "A.b" if n else None, None, f"h{n}", "in A"
            )
            for n, path in enumerate(ODD_PATHS)
        ]
        await index.upsert("w", stored)
        hits = await index.search("w", "needle", k=50)
        assert {hit.chunk.id: hit.chunk for hit in hits} == {c.id: c for c in stored}

    async def test_a_text_that_is_no_unicode_is_stored_with_question_marks(self, index: WorkspaceIndex) -> None:
        await index.upsert("w", [chunk("a.py", "budget", symbol="x\udc80y") for _ in range(1)])
        (hit,) = await index.search("w", "budget")
        assert hit.chunk.symbol == "x?y"

    async def test_the_same_id_replaces_with_all_its_passages(self, index: WorkspaceIndex) -> None:
        long = chunk("a.py", "\n".join(f"budget line {n}" for n in range(200)))
        await index.upsert("w", [long])
        assert (await index.stats("w")).vectors > 2
        await index.upsert("w", [replace(long, text="short now", content_hash="h2")])
        stats = await index.stats("w")
        assert (stats.chunks, stats.vectors, await index.hashes("w")) == (1, 1, {"a.py": "h2"})
        assert await index.search("w", "budget", vector=False) == []

    @pytest.mark.parametrize("path", ODD_PATHS)
    async def test_deleting_a_path_takes_that_file_alone(self, index: WorkspaceIndex, path: str) -> None:
        await index.upsert("w", [chunk(path, "one"), chunk(path, "two", line=5), chunk("other.py", "three")])
        await index.delete_paths("w", [path])
        assert await index.hashes("w") == {"other.py": "h1"}

    async def test_replace_is_one_commit(self, index: WorkspaceIndex) -> None:
        """A search while a file is replaced again and again never finds both of its states, nor neither."""
        await index.upsert("w", [chunk("a.py", "state budget 0"), chunk("b.py", "budget")])

        async def write() -> None:
            for n in range(1, 15):
                await index.replace("w", ["a.py"], [chunk("a.py", f"state budget {n}")])

        writer = asyncio.create_task(write())
        while not writer.done():
            await asyncio.sleep(0)
            found = await paths(index, "w", "state budget", vector=False)
            assert found.count("a.py") <= 1
            assert list(await index.hashes("w")).count("a.py") == 1
        await writer
        assert [h.chunk.text for h in await index.search("w", "state")][:1] == ["state budget 14"]

    async def test_replace_without_chunks_deletes(self, index: WorkspaceIndex) -> None:
        await index.upsert("w", [chunk("a.py", "one")])
        await index.replace("w", ["a.py"], [])
        assert await index.stats("w") == IndexStats()

    async def test_concurrent_upserts_of_the_same_keys_leave_each_once(self, index: WorkspaceIndex) -> None:
        chunks = [chunk(f"{n}.py", f"budget {n}") for n in range(20)]
        await asyncio.gather(*(index.upsert("w", [replace(c, content_hash=f"h{i}") for c in chunks]) for i in range(8)))
        assert (await index.stats("w")).chunks == 20
        assert len(set((await index.hashes("w")).values())) == 1

    async def test_two_indexes_over_one_folder_do_not_double_rows(
        self, index: WorkspaceIndex, folder: Path, embedder: Embedder
    ) -> None:
        """The unenforced primary key: without it, two writers at once leave a row of each."""
        chunks = [chunk(f"{n}.py", f"budget {n}") for n in range(10)]
        await index.upsert("w", chunks[:1])
        other = WorkspaceIndex(folder, embedder, dimensions=tiny_minilm.HIDDEN)
        await asyncio.gather(*(i.upsert("w", chunks) for i in (index, other)), return_exceptions=True)
        await other.aclose()
        assert (await index.stats("w")).chunks == 10

    @pytest.mark.parametrize("bad", ["x' OR 1=1 --", "", "a b", "ä", "a\n", "x" * 129, "a#0"])
    async def test_an_id_outside_the_alphabet_is_refused(self, index: WorkspaceIndex, bad: str) -> None:
        await index.upsert("w", [chunk("a.py", "one"), chunk("b.py", "two")])
        with pytest.raises(InvalidRequest, match=r"chunks\[1\]\.id"):
            await index.upsert("w", [chunk("c.py", "x"), chunk("d.py", "y", id=bad)])
        assert set(await index.hashes("w")) == {"a.py", "b.py"}

    async def test_other_bad_fields_are_named(self, index: WorkspaceIndex) -> None:
        good = chunk("a.py", "x")
        for bad, field in [
            ([replace(good, path="")], "path"),
            ([replace(good, start_line=0)], "start_line"),
            ([replace(good, start_line=5, end_line=4)], "start_line"),
            ([replace(good, end_line=2**31)], "start_line"),
            ([good, good], "id"),
        ]:
            with pytest.raises(InvalidRequest, match=rf"chunks\[\d\]\.{field}"):
                await index.upsert("w", bad)

    async def test_a_file_whose_chunks_disagree_has_no_hash(self, index: WorkspaceIndex) -> None:
        await index.upsert("w", [chunk("a.py", "x", whole="h1"), chunk("a.py", "y", whole="h2"), chunk("b.py", "z")])
        assert await index.hashes("w") == {"b.py": "h1"}


class TestWorkspaces:
    async def test_they_never_see_each_other(self, index: WorkspaceIndex) -> None:
        names = ["work", "Work", "work'; --", "../work", "", "w" * 300]
        for name in names:
            await index.upsert(name, [chunk("secret.py", f"budget of {name!r}", whole=name or "none")])
        for name in names:
            hits = await index.search(name, "budget secret", k=50)
            assert [hit.chunk.content_hash for hit in hits] == [name or "none"]
        await index.drop("work")
        assert await index.search("work", "budget") == []
        assert await index.hashes("Work") == {"secret.py": "Work"}

    def test_a_table_is_named_by_a_digest_alone(self) -> None:
        for name in ("../../etc", "CON", "a/b", "x\0"):
            assert index_rows.table_name(name).strip("c_0123456789abdef") == ""

    def test_a_filter_takes_nothing_but_ids(self) -> None:
        assert index_rows.is_in("chunk", ["a", "b.c:1"]) == "chunk IN ('a', 'b.c:1')"
        with pytest.raises(ValueError, match="nothing but ids"):
            index_rows.is_in("chunk", ["a", "x' OR 1=1 --"])


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


class TestLosses:
    def test_nothing_indexed_costs_no_import_and_no_folder(self, tmp_path: Path) -> None:
        program = (
            "import asyncio, sys\nfrom pathlib import Path\n"
            "from app.memory.embedder import Embedder\nfrom app.memory.index import WorkspaceIndex\n"
            "async def main():\n"
            f"    index = WorkspaceIndex(Path({str(tmp_path / 'index')!r}), Embedder(Path('none')))\n"
            "    assert await index.search('w', 'x') == [] and await index.hashes('w') == {}\n"
            "    await index.delete_paths('w', ['a']); await index.maintain(); await index.drop('w')\n"
            "    assert not await index.open('w') and index.problem is None\n"
            "    await index.aclose()\n"
            "asyncio.run(main())\n"
            "print([name for name in ('lancedb', 'pyarrow', 'numpy') if name in sys.modules])\n"
        )
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
        assert not (tmp_path / "index").exists()

    async def test_a_removed_folder_is_a_problem_until_it_is_indexed_again(
        self, index: WorkspaceIndex, folder: Path
    ) -> None:
        await index.upsert("w", [chunk("a.py", "budget")])
        shutil.rmtree(folder)
        assert "was removed; index its folder again" in (index.problem or "")
        with pytest.raises(IndexUnavailable, match="was removed"):
            await index.search("w", "budget")
        assert await index.hashes("w") == {}
        await index.delete_paths("w", ["a.py"])
        await index.upsert("w", [chunk("a.py", "budget")])
        assert index.problem is None
        assert await paths(index, "w", "budget") == ["a.py"]

    async def test_a_damaged_table_is_a_problem_until_it_is_dropped(
        self, index: WorkspaceIndex, folder: Path, embedder: Embedder
    ) -> None:
        await index.upsert("w", [chunk("a.py", "budget")])
        await index.aclose()
        damage(folder)
        again = WorkspaceIndex(folder, embedder, dimensions=tiny_minilm.HIDDEN)
        for attempt in (again.search("w", "budget"), again.upsert("w", [chunk("a.py", "x")]), again.hashes("w")):
            with pytest.raises(IndexUnavailable, match="cannot be used"):
                await attempt
        assert "drop it" in (again.problem or "")
        await again.drop("w")
        assert again.problem is None
        await again.upsert("w", [chunk("a.py", "budget")])
        assert await paths(again, "w", "budget") == ["a.py"]
        await again.aclose()

    async def test_a_table_that_was_hardly_begun_is_made_whole(self, index: WorkspaceIndex, folder: Path) -> None:
        (folder / f"{index_rows.table_name('w')}.lance").mkdir(parents=True)
        assert await index.search("w", "budget") == []
        await index.upsert("w", [chunk("a.py", "budget")])
        assert await paths(index, "w", "budget") == ["a.py"]

    async def test_what_was_acknowledged_survives_kill_9(
        self, folder: Path, tmp_path: Path, embedder: Embedder
    ) -> None:
        """Killed in mid-write, three times over the same folder: every file acknowledged is there, each whole."""
        acknowledged: dict[str, str] = {}
        for turn in range(3):
            acknowledged |= await asyncio.to_thread(write_and_be_killed, folder, tmp_path / "model", turn)
        index = WorkspaceIndex(folder, embedder, dimensions=tiny_minilm.HIDDEN)
        hashes = await index.hashes("w")
        # The write that was under way may be there or not: its file then has a later mark.
        later = {path for path, whole in acknowledged.items() if hashes[path] != whole}
        assert len(later) <= 1
        assert all(mark(hashes[path]) > mark(acknowledged[path]) for path in later)
        stats = await index.stats("w")
        assert stats.chunks == 3 * stats.files
        await index.upsert("w", [chunk("after.py", "budget")])
        await index.aclose()

    async def test_a_closed_index_says_so(self, index: WorkspaceIndex) -> None:
        await index.upsert("w", [chunk("a.py", "x")])
        await index.aclose()
        with pytest.raises(IndexUnavailable, match="shutting down"):
            await index.search("w", "x")


class TestMaintenance:
    async def test_it_runs_by_itself_and_searches_go_on(self, index: WorkspaceIndex) -> None:
        async def write(worker: int) -> None:
            for n in range(MAINTAIN_AFTER // 2 + 4):
                await index.upsert("w", [chunk(f"{worker}-{n}.py", f"budget {worker} {n}")])

        writers = asyncio.gather(write(0), write(1))
        while not writers.done():
            await asyncio.sleep(0)  # before the first write nothing is there, and the answer comes without a wait
            hits = await index.search("w", "budget")
            assert all(isinstance(hit.similarity, float) for hit in hits)
        await writers
        assert index._maintenance is not None
        await index.maintain()
        stats = await index.stats("w")
        assert stats.chunks == stats.files == 2 * (MAINTAIN_AFTER // 2 + 4)
        table = index._space("w").table
        assert table is not None
        counted = cast(Any, await table.stats())  # a dict, whatever its annotation says
        # Two where the first was indexed before the rest was written: LanceDB joins them the next time.
        assert counted["fragment_stats"]["num_fragments"] <= 2
        assert index.problem is None
