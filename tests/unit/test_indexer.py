"""Folders into the index, with everything real: what changes, vanishes, is odd, is killed, is watched."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from app.errors import InvalidRequest, NotFound
from app.memory.indexer import FIRST_CHUNKS
from app.memory.jobs import IndexingFailed, Job
from app.memory.progress import Tally
from tests.fakes import tiny_minilm
from tests.unit.indexing_parts import Observed, Parts, open_parts

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = (tmp_path / "project").resolve()
    write(root, {"a.py": "def alpha():\n    return 1\n", "b.py": "def beta():\n    return 2\n", "c.md": "# Gamma\n"})
    return root


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with open_parts(tmp_path / "data", tmp_path / "model") as opened:
        yield opened


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def index_and_be_killed(data: Path, model: Path, folder: Path) -> int:
    """How many files the child said were indexed."""
    command = [sys.executable, "-m", "tests.unit.indexing_child", str(data), str(model), str(folder)]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    stored = 0
    for line in child.stdout:
        count, state = line.split()
        stored = int(count)
        if stored or state == "done":
            break
    child.kill()
    child.communicate()
    return stored


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


class TestIncremental:
    async def test_only_what_changed_is_read_and_what_vanished_goes(self, parts: Parts, folder: Path) -> None:
        assert await parts.index(folder) == {"indexed": 3, "unchanged": 0, "removed": 0}
        assert await parts.index(folder) == {"indexed": 0, "unchanged": 3, "removed": 0}
        write(folder, {"a.py": "def omega():\n    return 3\n"})
        (folder / "b.py").unlink()
        assert await parts.index(folder) == {"indexed": 1, "unchanged": 1, "removed": 1}
        assert await parts.stored() == {"a.py", "c.md"}
        assert (await parts.found("omega"))[0] == "a.py"
        hits = await parts.memory.search("w", "alpha", 20)
        assert not any("alpha" in hit.chunk.text for hit in hits)

    async def test_a_file_that_was_only_touched_is_not_embedded_again(self, parts: Parts, folder: Path) -> None:
        await parts.index(folder)
        before = len(parts.observed.indexed_paths)
        os.utime(folder / "a.py", (1, 1))
        assert (await parts.index(folder))["indexed"] == 0
        assert len(parts.observed.indexed_paths) == before

    async def test_a_file_that_becomes_binary_or_ignored_goes(self, parts: Parts, folder: Path) -> None:
        await parts.index(folder)
        (folder / "a.py").write_bytes(b"\0\1\2")
        write(folder, {".gitignore": "b.py\n"})
        assert await parts.index(folder) == {"indexed": 1, "unchanged": 1, "removed": 1, "binary": 1, "ignored": 1}
        assert await parts.stored() == {"c.md", ".gitignore"}
        assert (await parts.index(folder))["binary"] == 1

    async def test_an_index_that_was_removed_is_made_again(self, parts: Parts, folder: Path) -> None:
        await parts.index(folder)
        shutil.rmtree(parts.memory.index.folder)
        assert (await parts.index(folder))["indexed"] == 3
        assert await parts.stored() == {"a.py", "b.py", "c.md"}

    async def test_odd_files_are_indexed_or_said(self, parts: Parts, folder: Path) -> None:
        (folder / "latin.py").write_bytes("grüße = 1\n".encode("latin-1"))
        (folder / "wide.txt").write_bytes("zebra".encode("utf-16"))
        (folder / "line.js").write_text("x" * 900_000)
        (folder / "huge.txt").write_text("x" * 1_000_001)
        (folder / "empty.py").write_text("")
        write(folder, {"\udcff'\n.py": "def odd(): ...\n"})
        os.symlink("/etc/hostname", folder / "link.py")
        done = await parts.index(folder)
        assert done == {"indexed": 7, "unchanged": 0, "removed": 0, "empty": 1, "symlink": 1, "too_large": 1}
        assert (await parts.found("zebra"))[0] == "wide.txt"
        assert (await parts.found("odd"))[0] == "\udcff'\n.py"
        assert (await parts.index(folder))["unchanged"] == 7

    async def test_a_folder_that_changes_while_it_is_indexed(self, parts: Parts, folder: Path) -> None:
        write(folder, {f"m{n}.py": f"def function_{n}(): return {n}\n" * 20 for n in range(120)})
        job = await parts.jobs.start("w", str(folder))
        turn = 0
        while not job.ended:
            write(folder, {f"m{turn % 120}.py": f"def changed_{turn}(): ...\n", f"new{turn}.py": "x = 1\n"})
            (folder / f"m{(turn * 7 + 50) % 120}.py").unlink(missing_ok=True)
            turn += 1
            await asyncio.sleep(0.02)
        assert (await job.wait()).state == "done"
        assert turn
        await parts.index(folder)
        assert await parts.stored() == set(os.listdir(folder))
        for path in ("a.py", "new0.py"):
            assert (await parts.memory.index.hashes("w"))[path]


class TestJobs:
    async def test_a_run_that_is_killed_goes_on_from_where_it_was(self, tmp_path: Path, folder: Path) -> None:
        write(folder, {f"m{n}.py": f"def function_{n}(): return {n}\n" * 30 for n in range(200)})
        data, model = tmp_path / "data", tmp_path / "model"
        stored = index_and_be_killed(data, model, folder)
        assert stored
        async with open_parts(data, model) as parts:
            done = await parts.index(folder)
            assert done["unchanged"] >= stored
            assert done["indexed"] + done["unchanged"] == 203
            assert len(await parts.stored()) == 203
            assert (await parts.index(folder))["unchanged"] == 203

    async def test_one_run_per_folder_any_number_of_listeners(self, parts: Parts, folder: Path) -> None:
        first, second = await asyncio.gather(*(parts.jobs.start("w", str(folder)) for _ in range(2)))
        assert first is second
        states = [progress.state async for progress in first.updates()]
        assert states[-1] == "done"
        assert (await second.wait()).files_indexed == 3

    async def test_how_far_a_run_is_shows_early(self, parts: Parts, folder: Path) -> None:
        job = await parts.jobs.start("w", str(folder))
        await job.wait()
        write(folder, {f"n{n}.md": f"# Note {n}\n\nIt is about the number {n}.\n" for n in range(4 * FIRST_CHUNKS)})
        tally, seen = Tally(0.0), []
        await parts.jobs.indexer.run(job.folder, tally, lambda: seen.append(tally.chunks))
        assert min(chunks for chunks in seen if chunks) <= 2 * FIRST_CHUNKS, (
            "the first two batches are under way at once"
        )
        assert seen[-1] == 4 * FIRST_CHUNKS

    async def test_a_run_can_be_stopped_and_begun_again(self, parts: Parts, folder: Path) -> None:
        write(folder, {f"m{n}.py": f"def function_{n}(): return {n}\n" * 30 for n in range(100)})
        job = await parts.jobs.start("w", str(folder))
        await parts.jobs.stop("w", str(folder))
        assert job.progress.state == "cancelled"
        assert (await job.wait()).state == "cancelled"
        done = await parts.index(folder)
        assert done["indexed"] + done["unchanged"] == 103

    async def test_a_folder_that_went_away_fails_and_nothing_is_forgotten(self, parts: Parts, folder: Path) -> None:
        await parts.index(folder)
        job = await parts.jobs.start("w", str(folder))
        os.rename(folder, folder.with_name("moved"))
        await asyncio.gather(job.wait(), return_exceptions=True)
        assert job.error is None or isinstance(job.error, IndexingFailed)
        with pytest.raises(InvalidRequest, match="no such folder"):
            await parts.jobs.start("w", str(folder))
        assert await parts.stored() == {"a.py", "b.py", "c.md"}
        await parts.jobs.drop("w", str(folder))
        assert await parts.stored() == set()

    @pytest.mark.parametrize("whole", [False, True])
    async def test_a_run_that_is_asked_for_while_its_folder_is_dropped_comes_after(
        self, parts: Parts, folder: Path, whole: bool
    ) -> None:
        started: list[asyncio.Task[Job]] = []

        class Meanwhile(Observed):
            async def removed(self, workspace: str, paths: Sequence[str]) -> None:
                if not started:
                    started.append(asyncio.create_task(parts.jobs.start("w", str(folder), watch=False)))
                    await asyncio.sleep(0.3)  # enough for a run over three files

        await parts.index(folder)
        parts.jobs.indexer.observer = Meanwhile()
        await parts.jobs.drop("w", None if whole else str(folder))
        assert (await (await started[0]).wait()).state == "done"
        assert await parts.stored() == {"a.py", "b.py", "c.md"}
        (status,) = await parts.jobs.status("w")
        assert (status.folder.root, status.files) == (folder, 3)

    async def test_the_manifest_tells_of_some_paths_without_reading_all(self, parts: Parts, folder: Path) -> None:
        write(folder, {"deep/in/a.py": "x = 1\n", "deep.py": "y = 1\n", "deep0/b.py": "z = 1\n"})
        await parts.index(folder)
        (status,) = await parts.jobs.status("w")
        every = await parts.manifest.files(status.folder)
        wanted = ["a.py", "deep/in/a.py", "deep", "nothing.py"]
        some = await parts.manifest.files_at(status.folder, wanted)
        assert some == {path: every[path] for path in ("a.py", "deep/in/a.py")}
        for path, below in [("deep", True), ("deep/in", True), ("dee", False), ("a.py", False), ("deep0", True)]:
            assert await parts.manifest.any_below(status.folder, ["none", path]) is below
        assert not await parts.manifest.any_below(status.folder, [])
        assert await parts.manifest.files_at(status.folder, []) == {}

    async def test_two_workspaces_never_see_each_others_files(self, parts: Parts, folder: Path) -> None:
        await parts.index(folder)
        await parts.index(folder, "private")
        assert parts.memory.was_private("private")
        assert not parts.memory.was_private("w")
        await parts.jobs.drop("w", str(folder))
        assert await parts.found("alpha") == []
        assert (await parts.found("alpha", "private"))[0] == "a.py"
        assert await parts.stored("other") == set()
        with pytest.raises(NotFound):
            await parts.jobs.find("other", str(folder))

    async def test_a_second_folders_files_do_not_take_the_firsts_place(self, parts: Parts, folder: Path) -> None:
        second = folder.with_name("second")
        write(second, {"a.py": "def second_alpha(): ...\n"})
        (folder / "second").mkdir()
        await parts.index(folder)
        await parts.index(second)
        assert await parts.stored() == {"a.py", "b.py", "c.md", "second-2/a.py"}

    async def test_nor_does_the_first_take_the_seconds_place_later(self, parts: Parts, folder: Path) -> None:
        second = folder.with_name("second")
        write(second, {"a.py": "def zebra(): ...\n"})
        await parts.index(folder)
        await parts.index(second)
        write(folder, {"second/a.py": "def giraffe(): ...\n", "seconds/a.py": "def alpha_again(): ...\n"})
        assert (await parts.index(folder))["name_taken"] == 1
        assert await parts.indexer.update((await parts.manifest.folders("w"))[0], ["second/a.py"])
        assert (await parts.found("zebra"))[0] == "second/a.py"
        (folder / "second" / "a.py").unlink()
        await parts.index(folder)
        assert await parts.stored() == {"a.py", "b.py", "c.md", "second/a.py", "seconds/a.py"}
        await parts.jobs.drop("w", str(second))
        write(folder, {"second/a.py": "def giraffe(): ...\n"})
        await parts.index(folder)
        assert (await parts.found("giraffe"))[0] == "second/a.py"

    async def test_without_the_model_words_find_and_vectors_come_later(self, tmp_path: Path, folder: Path) -> None:
        later = tmp_path / "later"
        async with open_parts(tmp_path / "data", tmp_path / "model", model_folder=later) as parts:
            await parts.index(folder)
            assert await parts.found("alpha") == ["a.py"]
            assert (await parts.memory.index.stats("w")).without_vectors == 3
            tiny_minilm.write(later)
            assert (await parts.index(folder))["unchanged"] == 3
            assert (await parts.memory.index.stats("w")).without_vectors == 0

    async def test_searches_go_on_while_a_folder_is_indexed(self, parts: Parts, folder: Path) -> None:
        await parts.index(folder)
        write(folder, {f"m{n}.py": f"def function_{n}(): return {n}\n" * 30 for n in range(80)})
        job = await parts.jobs.start("w", str(folder))
        searched = 0
        while not job.ended:
            found = await asyncio.gather(*(parts.found("alpha") for _ in range(4)))
            assert all(paths[0] == "a.py" for paths in found)
            searched += 1
        assert (await job.wait()).files_indexed == 80
        assert searched

    async def test_an_observer_learns_of_every_file(self, parts: Parts, folder: Path) -> None:
        await parts.index(folder)
        assert sorted(parts.observed.indexed_paths) == ["a.py", "b.py", "c.md"]
        assert parts.observed.with_tree == {"a.py", "b.py"}
        (folder / "b.py").unlink()
        await parts.index(folder)
        assert parts.observed.removed_paths == ["b.py"]
        await parts.jobs.drop("w", None)
        assert sorted(parts.observed.removed_paths) == ["a.py", "b.py", "c.md"]


class TestWatch:
    async def test_what_is_saved_moved_and_deleted_is_followed(self, parts: Parts, folder: Path) -> None:
        await parts.index(folder, watch=True)
        await until(lambda: ready(parts))
        write(folder, {"new/deep.py": "def zebra(): ...\n", "node_modules/x.js": "zebra\n"})
        await until(lambda: stores(parts, {"a.py", "b.py", "c.md", "new/deep.py"}))
        write(folder, {"a.py": "def giraffe(): ...\n"})
        await until(lambda: first(parts, "giraffe", "a.py"))
        (folder / "new").rename(folder / "newer")
        await until(lambda: stores(parts, {"a.py", "b.py", "c.md", "newer/deep.py"}))
        shutil.rmtree(folder / "newer")
        (folder / "b.py").unlink()
        await until(lambda: stores(parts, {"a.py", "c.md"}))
        write(folder, {".gitignore": "*.md\n"})
        await until(lambda: stores(parts, {"a.py", ".gitignore"}))

    async def test_it_is_remembered_over_a_restart_and_catches_up(self, tmp_path: Path, folder: Path) -> None:
        data, model = tmp_path / "data", tmp_path / "model"
        async with open_parts(data, model) as parts:
            await parts.index(folder, watch=True)
        write(folder, {"meanwhile.py": "x = 1\n"})
        async with open_parts(data, model) as parts:
            await parts.jobs.resume()
            assert parts.jobs.health()["watched"] == 1
            await until(lambda: stores(parts, {"a.py", "b.py", "c.md", "meanwhile.py"}))
            await parts.jobs.stop("w", str(folder))
            assert parts.jobs.health()["watched"] == 0
        async with open_parts(data, model) as parts:
            await parts.jobs.resume()
            assert parts.jobs.health()["watched"] == 0

    async def test_a_watched_folder_that_goes_away_is_said(self, parts: Parts, folder: Path) -> None:
        await parts.index(folder, watch=True)
        await until(lambda: ready(parts))
        shutil.rmtree(folder)
        await until(lambda: degraded(parts))
        assert "index stop" in parts.jobs.health()["remedy"]


async def ready(parts: Parts) -> bool:
    return not parts.jobs.running() and all(s.first_look for _, s in parts.jobs._watches.values())


async def stores(parts: Parts, paths: set[str]) -> bool:
    return await parts.stored() == paths


async def first(parts: Parts, query: str, path: str) -> bool:
    return (await parts.found(query))[:1] == [path]


async def degraded(parts: Parts) -> bool:
    return parts.jobs.health().get("status") == "degraded"
