"""Folders that somebody else made: what stands in them stops no walk, reaches nothing outside and costs no quadratic
time; the sidecar's own data is nobody's material."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.errors import InvalidRequest
from app.memory.walk import FoundFile, Skipped, folders, look, walk
from tests.unit.indexing_parts import Parts, open_parts
from tests.unit.test_indexer import until

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "a.md").write_text("# Apples\nGranny Smith.\n")
    return root


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with open_parts(tmp_path / "data", tmp_path / "model") as opened:
        yield opened


def found(root: Path, own: Path | None = None) -> list[str]:
    return [file.path for file in walk(root, own=own) if isinstance(file, FoundFile)]


class TestIgnoreFiles:
    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
    @pytest.mark.timeout(20)
    def test_a_pipe_is_none(self, folder: Path) -> None:
        """Opening one waits for a writer, and no cancelling ends that."""
        os.mkfifo(folder / ".gitignore")
        assert found(folder) == ["a.md"]
        assert isinstance(look(folder, "a.md"), FoundFile)

    def test_thousands_of_lines(self, folder: Path) -> None:
        """RE2 refuses them in one set; the last one that mentions a file decides, wherever it stands."""
        lines = [f"data{n}.txt" for n in range(5_000)]
        lines[10], lines[4_000] = "*.log", "!keep.log"
        (folder / ".gitignore").write_text("\n".join(lines))
        for name in ("data3.txt", "data4999.txt", "data5000.txt", "a.log", "keep.log"):
            (folder / name).write_text("x")
        assert found(folder) == [".gitignore", "a.md", "data5000.txt", "keep.log"]

    def test_a_line_that_is_too_much_alone(self, folder: Path) -> None:
        (folder / ".gitignore").write_text("*.log\n" + "?" * 60_000 + "\n*.tmp\n")
        for name in ("a.log", "a.tmp"):
            (folder / name).write_text("x")
        assert found(folder) == [".gitignore", "a.md"]

    @pytest.mark.timeout(30)
    def test_patterns_that_would_backtrack(self, folder: Path) -> None:
        (folder / ".gitignore").write_text("*a" * 40 + "b\n")
        (folder / ("a" * 200)).write_text("x")
        assert "a" * 200 in found(folder)

    @linux
    def test_names_and_lines_that_are_no_text(self, folder: Path) -> None:
        (folder / ".gitignore").write_bytes(b"\xff*.md\n*.log\n")
        raw = os.fsencode(folder)
        for name in (b"\xfe.md", b"\xfe.log"):
            with open(raw + b"/" + name, "w") as file:
                file.write("x")
        assert os.fsdecode(b"\xfe.md") in found(folder)
        assert os.fsdecode(b"\xfe.log") not in found(folder)


def test_one_file_is_judged_as_a_walk_judges_it(folder: Path) -> None:
    """A watch asks for single files: an environment that is filled was indexed file by file."""
    for mark, name in (("pyvenv.cfg", "env"), ("CACHEDIR.TAG", "cache")):
        (folder / name / "lib").mkdir(parents=True)
        (folder / name / mark).write_text("")
        (folder / name / "lib" / "x.py").write_text("x = 1\n")
        assert look(folder, f"{name}/lib/x.py") == Skipped(f"{name}/lib/x.py", "ignored")
    assert found(folder) == ["a.md"]


@pytest.mark.parametrize(
    "name", ["prod.env", ".envrc", ".git-credentials", "main.tfvars", "terraform.tfstate", "k.ppk"]
)
def test_secrets_under_other_names(folder: Path, name: str) -> None:
    (folder / name).write_text("KEY=1\n")
    assert found(folder) == ["a.md"]


class TestOwnData:
    def test_is_left_out(self, folder: Path) -> None:
        data = folder / "state"
        (data / "backups").mkdir(parents=True)
        (data / "token").write_text("a secret")
        assert found(folder, own=data) == ["a.md"]
        assert "state/backups/" not in list(folders(folder, own=data))
        assert look(folder, "state/token", own=data) == Skipped("state/token", "ignored")

    async def test_is_not_indexed_and_no_change(self, tmp_path: Path) -> None:
        """Its token would go to models; what indexing writes would be indexed, for ever."""
        project = tmp_path / "project"
        project.mkdir()
        (project / "a.md").write_text("# Apples\n")
        data = project / "state"
        async with open_parts(data, tmp_path / "model") as parts:
            parts.jobs.indexer.own = data
            (data / "token").write_text("wanted secret token\n")
            await parts.index(project, watch=True)
            await until(lambda: _watching(parts))
            (data / "token").write_text("wanted secret token, anew\n")
            (project / "b.md").write_text("# Bananas\n")
            await until(lambda: _stores(parts, "b.md"))
            assert await parts.stored() == {"a.md", "b.md"}
            for path in (data, data / "index"):
                path.mkdir(exist_ok=True)
                with pytest.raises(InvalidRequest, match="own data"):
                    await parts.index(path)


async def test_files_that_cannot_be_looked_at_are_compared_once(
    folder: Path, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that may be listed and not entered: each file is unreadable, and each was known."""
    count = 300
    for number in range(count):
        (folder / f"{number}.md").write_text(f"# {number}\n")
    await parts.index(folder)
    compared = 0

    class Counted(str):
        def __hash__(self) -> int:
            nonlocal compared
            compared += 1
            return str.__hash__(self)

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    monkeypatch.setattr(
        "app.memory.indexer.walk", lambda *_, **__: (Skipped(Counted(f"{n}.md"), "unreadable") for n in range(count))
    )
    result = await parts.index(folder)
    assert result["removed"] == 1  # a.md; what could not be looked at is not gone
    assert compared < 10 * count


@linux
class TestWatching:
    async def test_nothing_that_is_not_walked(self, folder: Path, parts: Parts, tmp_path: Path) -> None:
        """A link to `/` made the watch go through the whole machine, on the event loop."""
        outside = tmp_path / "outside"
        for number in range(300):
            (outside / str(number)).mkdir(parents=True)
            (folder / "node_modules" / str(number)).mkdir(parents=True)
        (folder / "link").symlink_to(outside)
        (folder / "src").mkdir()
        await parts.index(folder, watch=True)
        await until(lambda: _watching(parts))
        assert watches() < 20

    async def test_folders_that_come_later(self, folder: Path, parts: Parts) -> None:
        await parts.index(folder, watch=True)
        await until(lambda: _watching(parts))
        (folder / "new" / "deep").mkdir(parents=True)
        (folder / "new" / "deep" / "x.md").write_text("# Xylophone\n")
        await until(lambda: _stores(parts, "new/deep/x.md"))
        await until(lambda: _watching(parts))
        (folder / "new" / "deep" / "y.md").write_text("# Yucca\n")
        await until(lambda: _stores(parts, "new/deep/y.md"))

    async def test_folders_that_were_ignored(self, folder: Path, parts: Parts) -> None:
        (folder / ".gitignore").write_text("notes/\n")
        (folder / "notes").mkdir()
        (folder / "notes" / "x.md").write_text("# Xylophone\n")
        await parts.index(folder, watch=True)
        await until(lambda: _watching(parts))
        (folder / ".gitignore").write_text("# nothing\n")
        await until(lambda: _stores(parts, "notes/x.md"))
        (folder / "notes" / "y.md").write_text("# Yucca\n")
        await until(lambda: _stores(parts, "notes/y.md"))

    async def test_a_folder_whose_name_is_no_text(self, folder: Path, parts: Parts) -> None:
        os.mkdir(os.fsencode(folder) + b"/\xff")
        await parts.index(folder, watch=True)
        await until(lambda: _watching(parts))
        (folder / "b.md").write_text("# Bananas\n")
        await until(lambda: _stores(parts, "b.md"))


def watches() -> int:
    """This process's inotify watches."""
    count = 0
    for entry in Path("/proc/self/fdinfo").iterdir():
        try:
            count += len(re.findall(r"^inotify ", entry.read_text(), re.M))
        except OSError:
            continue
    return count


async def _watching(parts: Parts) -> bool:
    return all(state.first_look and state.problem is None for _, state in parts.jobs._watches.values())


async def _stores(parts: Parts, path: str) -> bool:
    return path in await parts.stored()
