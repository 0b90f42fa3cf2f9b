"""A folder as git sees it, and bytes as text."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.memory.reading import NotIndexed, read_file, text_of
from app.memory.walk import MAX_BYTES, FoundFile, Skipped, look, walk

LATER = 2**62


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def found(root: Path, max_bytes: int = MAX_BYTES) -> list[str]:
    return [f.path for f in walk(root, max_bytes=max_bytes) if isinstance(f, FoundFile)]


def skipped(root: Path, max_bytes: int = MAX_BYTES) -> dict[str, str]:
    return {s.path: s.reason for s in walk(root, max_bytes=max_bytes) if isinstance(s, Skipped)}


class TestIgnoring:
    def test_as_git_does(self, tmp_path: Path) -> None:
        """Against git itself, with nested files, negation, anchors and wildcards."""
        touch(tmp_path, "a.log", "keep.log", "src/a.log", "src/x.tmp", "src/deep/y.tmp", "src/deep/z.py", "top.txt",
              "src/top.txt", "data/1.csv", "data/keep.csv", "docs/a/b/c.md", "docs/c.md", "é.log")  # fmt: skip
        (tmp_path / ".gitignore").write_text("*.log\n!keep.log\n/top.txt\ndata/*\n!data/keep.csv\ndocs/**/c.md\n[\n")
        (tmp_path / "src" / ".gitignore").write_text("*.tmp\n!a.log\n")
        (tmp_path / "src" / "deep" / ".gitignore").write_text("!y.tmp\n")
        git = ["git", "-C", str(tmp_path), "-c", "core.quotepath=off"]
        try:
            subprocess.run([*git, "init", "-q"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("git is not here")
        listed = subprocess.run(
            [*git, "ls-files", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
        ).stdout.split()
        assert sorted(found(tmp_path)) == sorted(listed)
        for path in [*found(tmp_path), *skipped(tmp_path)]:
            same = look(tmp_path, path)
            assert isinstance(same, FoundFile) == (path in listed), path

    def test_a_repositorys_rules_hold_in_a_folder_of_it(self, tmp_path: Path) -> None:
        touch(tmp_path, ".git/config", "sub/a.log", "sub/b.py", "sub/gen/c.py")
        (tmp_path / ".gitignore").write_text("*.log\nsub/gen/\n")
        assert found(tmp_path / "sub") == ["b.py"]
        assert look(tmp_path / "sub", "a.log") == Skipped("a.log", "ignored")

    def test_packages_builds_and_version_control_are_left_out(self, tmp_path: Path) -> None:
        touch(tmp_path, ".git/x", "node_modules/a/b.js", "build/x.py", "e/pyvenv.cfg", "e/lib/x.py",
              "cache/CACHEDIR.TAG",
              "cache/x.py", "x.egg-info/PKG", "src/a.py", "src/__pycache__/a.pyc")  # fmt: skip
        assert found(tmp_path) == ["src/a.py"]
        assert skipped(tmp_path)["e"] == "ignored"

    def test_secrets_and_generated_files_are_left_out(self, tmp_path: Path) -> None:
        touch(
            tmp_path,
            ".env",
            ".env.local",
            ".env.example",
            "id_rsa",
            "server.pem",
            "package-lock.json",
            "a.min.js",
            "a.js",
        )
        assert found(tmp_path) == [".env.example", "a.js"]
        assert skipped(tmp_path)[".env"] == "secret"
        assert skipped(tmp_path)["package-lock.json"] == "generated"


class TestBounds:
    def test_no_link_is_followed(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        root = tmp_path / "root"
        touch(outside, "secret.py")
        touch(root, "a.py")
        (root / "file.py").symlink_to(outside / "secret.py")
        (root / "folder").symlink_to(outside)
        (root / "loop").symlink_to(root)
        (root / "dangling").symlink_to(root / "nothing")
        assert found(root) == ["a.py"]
        assert set(skipped(root).values()) == {"symlink"}
        assert look(root, "folder/secret.py") == Skipped("folder/secret.py", "symlink")
        for path in ("file.py", "folder/secret.py"):
            with pytest.raises(NotIndexed) as raised:
                read_file(root, path, 100, LATER)
            assert raised.value.reason == "symlink"

    def test_large_special_and_unreadable_files_are_said(self, tmp_path: Path) -> None:
        touch(tmp_path, "ok.py", "locked/a.py")
        (tmp_path / "large.py").write_bytes(b"x" * 101)
        os.mkfifo(tmp_path / "pipe")
        assert found(tmp_path, max_bytes=100) == ["ok.py", "locked/a.py"]
        assert skipped(tmp_path, max_bytes=100) == {"large.py": "too_large", "pipe": "special"}
        with pytest.raises(NotIndexed, match="too_large"):
            read_file(tmp_path, "large.py", 100, LATER)
        with pytest.raises(NotIndexed, match="special"):
            read_file(tmp_path, "pipe", 100, LATER)
        with pytest.raises(NotIndexed, match="vanished"):
            read_file(tmp_path, "gone.py", 100, LATER)

    @pytest.mark.parametrize(
        "name", [b"it's.py", b'q"uo.py', b"line\nend.py", b"\xff\xfe.py", "日本.py".encode(), b"a b .py", b"-rf.py"]
    )
    def test_odd_names_come_back_as_they_are(self, tmp_path: Path, name: bytes) -> None:
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_text("x = 1\n")
        (path,) = found(tmp_path)
        assert os.fsencode(path) == name
        assert read_file(tmp_path, path, 100, LATER).data == b"x = 1\n"

    def test_a_root_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            list(walk(tmp_path / "nothing"))

    def test_a_file_written_just_now_is_read_again_the_next_time(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.py")
        written = (tmp_path / "a.py").stat().st_mtime_ns
        assert read_file(tmp_path, "a.py", 100, written + 10**9).mtime_ns == 0
        assert read_file(tmp_path, "a.py", 100, written + 10**10).mtime_ns == written


class TestText:
    @pytest.mark.parametrize(
        ("data", "text"),
        [
            ("é = 1\n".encode(), "é = 1\n"),
            ("\ufeffé".encode(), "é"),
            ("é日".encode("utf-16"), "é日"),
            (b"\xfe\xff" + "é日".encode("utf-16-be"), "é日"),
            ("é日".encode("utf-32"), "é日"),
            ("é = 'ü'\n".encode("latin-1"), "é = 'ü'\n"),
            (b"a\r\nb\x1b[0m", "a\r\nb\x1b[0m"),
        ],
    )
    def test_encodings(self, data: bytes, text: str) -> None:
        assert text_of(data) == text

    @pytest.mark.parametrize(
        ("data", "reason"),
        [(b"", "empty"), (b" \n", "empty"), (b"\x89PNG\0\0", "binary"), (b"\x80" + bytes(range(1, 30)) * 9, "binary")],
    )
    def test_what_is_no_text(self, data: bytes, reason: str) -> None:
        with pytest.raises(NotIndexed, match=reason):
            text_of(data)

    @given(st.binary(max_size=300))
    def test_any_bytes_are_text_or_not(self, data: bytes) -> None:
        try:
            text_of(data)
        except NotIndexed as raised:
            reason = raised.reason
        else:
            reason = ""
        assert reason in ("binary", "empty", "")

    @given(st.text(max_size=200).filter(lambda text: text.strip() and "\0" not in text and text[0] != "\ufeff"))
    def test_utf8_comes_back(self, text: str) -> None:
        try:
            data = text.encode()
        except UnicodeEncodeError:
            return
        if data.strip():
            assert text_of(data) == text
