"""A copy of the data folder in one file, made while the sidecar runs; and putting it back while none does.

    backup.zip ── manifest.json     what it is, from when, each file with its SHA-256
               ── sidecar.db        SQLite's online copy: one consistent moment, committed rows alone
               ── index/…           LanceDB's files; manifests first, so that none names a file that is not there
               ── calibration.json

The token is left out, and so are the lock, the log and notes of attempts in flight: whoever finds a backup cannot
speak to a sidecar with it. Its content is as private as the data folder's: mode 0600.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sqlalchemy import create_engine

from app import __version__
from app.errors import StartupError
from app.store.opening import Broken, Schema, quick_check, read_revision

MANIFEST: Final = "manifest.json"
DATABASE: Final = "sidecar.db"
FORMAT: Final = 1
_TRIES: Final = 5
_REPLACED: Final = ("index", "calibration.json")
_BUSY_SECONDS: Final = 10
_MOST_MANIFEST_BYTES: Final = 64 * 2**20
"""Of some 500,000 files."""
_NOT_READABLE: Final = (OSError, EOFError, RuntimeError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, sqlite3.Error)
"""What a damaged or foreign zip makes zipfile raise; `RuntimeError`: it is encrypted, or packed in an unknown way."""


class BackupError(Exception):
    """The text says what is wrong and what to do; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds. `bytes`: of its files before compression."""

    made_at: str
    schema: str
    files: int
    bytes: int


def back_up(data: Path, target: Path, now: datetime) -> Backup:
    """Write a backup of the data folder to `target`. Safe beside a running sidecar: it only reads.

    Raises `BackupError`: there is no database, it is damaged, `target` exists, there is no room.
    """
    if not (data / DATABASE).is_file():
        raise BackupError(f"there is no database in {data}: nothing to back up")
    if target.exists():
        raise BackupError(f"{target} exists already; name another file")
    try:
        with _scratch(target.parent) as scratch:
            copy_database(data / DATABASE, scratch / DATABASE)
            _copy_index(data / "index", scratch / "index")
            if (data / "calibration.json").is_file():
                shutil.copy2(data / "calibration.json", scratch / "calibration.json")
            return _pack(scratch, target, now)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"cannot back up to {target}: {error}") from None


def copy_database(source: Path, target: Path) -> None:
    """SQLite's online backup from a read-only connection: committed rows of one moment. Raises sqlite3.Error."""
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as reader,
        closing(sqlite3.connect(target)) as copy,
    ):
        # In one step: page by page, the copy would begin anew with every commit of the sidecar's.
        reader.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")


def _copy_index(source: Path, target: Path) -> None:
    """LanceDB never changes a file that is written; what maintenance removes meanwhile is copied anew."""
    for _ in range(_TRIES):
        if not source.is_dir():
            return
        try:
            for path in sorted(source.rglob("*"), key=lambda p: (p.suffix != ".manifest", p.as_posix())):
                if path.is_file():
                    place = target / path.relative_to(source)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, place)
            # A mark stands before what it speaks of is stored: the one of a file that came meanwhile is there by now.
            for mark in source.glob("*.private"):
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(mark, target / mark.name)
            return
        except FileNotFoundError:
            shutil.rmtree(target, ignore_errors=True)
    raise BackupError("the index changed all the time; try again when no folder is being indexed")


def _pack(scratch: Path, target: Path, now: datetime) -> Backup:
    schema = read_revision(scratch / DATABASE, Schema()) or ""
    files = {p.relative_to(scratch).as_posix(): p for p in sorted(scratch.rglob("*")) if p.is_file()}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "schema": schema,
        "made_at": now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "files": {name: {"sha256": _digest(path), "bytes": path.stat().st_size} for name, path in files.items()},
    }
    part = target.with_name(target.name + ".part")
    try:
        # Exclusive and 0600 from the start: conversations are in it.
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as raw:
            with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as packed:
                packed.writestr(MANIFEST, json.dumps(manifest, indent=1))
                for name, path in files.items():
                    packed.write(path, name)
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    return _told(manifest)


def restore(source: Path, data: Path, now: datetime) -> tuple[Backup, Path | None]:
    """Put a backup's files in place of those of `data`; the caller holds the folder's lock.

    Returns what was restored, and the folder the earlier files were moved to (None: there were none). Nothing is moved
    before every file was checked. Raises `BackupError`.
    """
    try:
        with _scratch(data) as scratch:
            told = _unpack(source, scratch)
            _check_database(scratch / DATABASE)
            earlier = _move_away(data, now)
            for path in scratch.iterdir():
                path.rename(data / path.name)
            return told, earlier
    except _NOT_READABLE as error:
        raise BackupError(f"cannot restore {source}: {error}") from None


def _told(manifest: dict[str, Any]) -> Backup:
    files = manifest["files"]
    return Backup(manifest["made_at"], manifest["schema"], len(files), sum(f["bytes"] for f in files.values()))


def _unpack(source: Path, scratch: Path) -> Backup:
    with zipfile.ZipFile(source) as packed:
        try:
            manifest = _read_manifest(packed)
            files = dict(manifest["files"])
            if manifest["format"] != FORMAT:
                raise BackupError(f"{source} has format {manifest['format']!r}; this program reads {FORMAT}")
            if DATABASE not in files or {*packed.namelist()} != {MANIFEST, *files}:
                raise BackupError(f"{source} does not hold what its manifest says")
            told = _told(manifest)
            if told.bytes > (free := shutil.disk_usage(scratch).free):
                raise BackupError(f"{source} needs {told.bytes:,} bytes, and {free:,} are free; nothing was changed")
            for name, promise in files.items():
                _unpack_one(packed, name, promise, scratch)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise BackupError(f"{source} is no backup of llm-sidecar") from None
    return told


def _read_manifest(packed: zipfile.ZipFile) -> dict[str, Any]:
    """Raises `ValueError` where it is none."""
    with packed.open(MANIFEST) as file:
        raw = file.read(_MOST_MANIFEST_BYTES + 1)
    manifest = json.loads(raw) if len(raw) <= _MOST_MANIFEST_BYTES else None
    if not isinstance(manifest, dict) or not all(isinstance(manifest[name], str) for name in ("made_at", "schema")):
        raise ValueError
    if not all(type(told["bytes"]) is int and told["bytes"] >= 0 for told in manifest["files"].values()):
        raise ValueError
    return manifest


def _unpack_one(packed: zipfile.ZipFile, name: str, told: dict[str, Any], scratch: Path) -> None:
    path = PurePosixPath(name)
    known = name in (DATABASE, "calibration.json") or (name.startswith("index/") and not name.endswith("/"))
    if not known or ".." in path.parts or path.is_absolute() or "\\" in name or ":" in name:
        raise BackupError(f"the backup holds {name!r}, which is no file of a data folder")
    place = scratch / path
    place.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(name) as packed_file, place.open("xb") as file:
        # Never more than was promised, whatever the archive unfolds to.
        left = told["bytes"]
        while chunk := packed_file.read(min(1 << 20, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            file.write(chunk)
    if left or _digest(place) != told["sha256"]:
        raise BackupError(f"{name} in the backup is damaged; nothing was changed")


def _check_database(path: Path) -> None:
    try:
        read_revision(path, Schema())
        engine = create_engine(f"sqlite:///{path}")
        try:
            with engine.connect() as connection:
                quick_check(connection)
        finally:
            engine.dispose()
    except Broken as error:
        raise BackupError(f"the backup's database is damaged ({error}); nothing was changed") from None
    except StartupError as error:
        raise BackupError(f"{error.detail} Nothing was changed.".replace(str(path), "the backup")) from None


def _move_away(data: Path, now: datetime) -> Path | None:
    found = [p for p in data.glob(f"{DATABASE}*") if ".b" not in p.name.removeprefix(DATABASE)]
    found += [data / name for name in _REPLACED if (data / name).exists()]
    if not found:
        return None
    earlier = Path(tempfile.mkdtemp(prefix=f"before-restore-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-", dir=data))
    for path in found:
        path.rename(earlier / path.name)
    return earlier


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder of the user's alone on the same file system, gone at the end."""
    with tempfile.TemporaryDirectory(prefix=".llm-sidecar-", dir=folder) as name:
        yield Path(name)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
