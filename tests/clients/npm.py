"""npm packages for tests, installed by their lock files into a folder of their own.

Where there is no Node or no npm the tests are skipped and say so; with REQUIRE_NODE=1, as in continuous integration,
they fail instead.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "typescript"


def absent(why: str) -> NoReturn:
    if os.environ.get("REQUIRE_NODE"):
        pytest.fail(why)
    pytest.skip(why)


def find(name: str) -> str:
    """The path of `node` or `npm`."""
    return shutil.which(name) or absent(f"{name} is not installed")


def install(source: Path, folder: Path) -> None:
    """A copy of `source` in `folder`, with what its lock file names."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    done = run(folder, find("npm"), "ci", "--ignore-scripts", "--prefer-offline")
    if done.returncode != 0:
        absent(f"npm ci failed: {done.stderr.strip()[-300:]}")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def built_client(shared: Path) -> Path:
    """The TypeScript client, built once in `shared`, whoever of the workers comes first."""
    folder = shared / "llm-sidecar" / "clients" / "typescript"
    with (shared / "typescript.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "dist" / "index.js").exists():
            shutil.rmtree(folder, ignore_errors=True)
            install(CLIENT, folder)
            shutil.copy(ROOT / "openapi.json", folder.parents[1])
            done = run(folder, find("npm"), "run", "--silent", "build")
            assert done.returncode == 0, done.stdout + done.stderr
    return folder


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of a run."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
