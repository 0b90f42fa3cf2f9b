"""What would break the image's build and is seen without an engine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")


def copied(stage: str | None = None) -> list[str]:
    """What the build copies out of the source tree, in one stage or in all."""
    found, here = [], None
    for line in DOCKERFILE.splitlines():
        if line.startswith("FROM "):
            here = line.partition(" AS ")[2] or None
        elif line.startswith("COPY ") and "--from" not in line and stage in (None, here):
            found += line.split()[1:-1]
    return found


def ignored(path: Path) -> bool:
    """By Docker's rules: the last pattern that fits the path or a folder above it decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        above = [each.as_posix() for each in (path, *path.parents)][:-1]
        if any(fnmatch(each, line.removeprefix("!")) for each in above):
            verdict = not line.startswith("!")
    return verdict


def test_what_is_copied_is_there_and_let_through() -> None:
    assert {"app", "config", "requirements.lock", "freeze/unused.py"} <= set(copied())
    for name in copied():
        assert (ROOT / name).exists(), name
        first = next((ROOT / name).rglob("*.[py]*")) if (ROOT / name).is_dir() else ROOT / name
        assert not ignored(first.relative_to(ROOT)), name
    for name in (".git/config", "tests/conftest.py", "docs/tauri.md", "app/__pycache__/x.pyc", ".venv/bin/python"):
        assert ignored(Path(name)), name


def test_uv_is_the_one_of_make() -> None:
    (docker,) = re.findall(r"^ARG UV_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)
    (make,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert docker == make


def test_the_model_is_fetched_by_the_files_its_stage_has(tmp_path: Path) -> None:
    for name in copied("model"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    # First on the path: the installed program must not stand in for a file that is missing.
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import app.memory.model_files as m; print(m.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith(str(tmp_path))
