"""The index on a real LanceDB: what is stored, replaced, kept apart and lost."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from app.errors import InvalidRequest
from app.memory import index_rows
from app.memory.chunks import Chunk
from app.memory.embedder import Embedder
from app.memory.hits import IndexStats, IndexUnavailable
from app.memory.index import MAINTAIN_AFTER, WorkspaceIndex
from tests.fakes import tiny_minilm
from tests.unit.tiny_index import chunk, paths, tiny_embedder, tiny_index

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
