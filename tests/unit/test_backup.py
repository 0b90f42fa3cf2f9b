"""A zip that is no backup, or a hostile one, is refused with a sentence; the data folder is as it was."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.store.backup import MANIFEST, BackupError, back_up, restore
from app.store.database import Database

NOW = datetime(2026, 11, 27, tzinfo=UTC)
NOTHING = hashlib.sha256(b"").hexdigest()


@pytest.fixture
async def backup(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    await (await Database.open(data / "sidecar.db", now=NOW)).close()
    back_up(data, tmp_path / "good.zip", NOW)
    return tmp_path / "good.zip"


def packed(backup: Path, manifest: bytes | None = None, **changes: Any) -> Path:
    """The backup with another manifest, or with some members of it changed; `files` are added to those there are."""
    made = backup.with_name("made.zip")
    added: dict[str, Any] = changes.pop("files", {})
    with zipfile.ZipFile(backup) as good, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as bad:
        told = json.loads(good.read(MANIFEST))
        told = {name: value for name, value in {**told, **changes}.items() if value is not ...}
        told["files"] |= {name: promise for name, (_, promise) in added.items()}
        bad.writestr(MANIFEST, json.dumps(told) if manifest is None else manifest)
        bad.writestr("sidecar.db", good.read("sidecar.db"))
        for name, (content, _) in added.items():
            bad.writestr(name, content)
    return made


def refused(file: Path, tmp_path: Path) -> str:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(BackupError) as error:
        restore(file, target, NOW)
    assert list(target.iterdir()) == []
    return str(error.value)


@pytest.mark.parametrize("changes", [{"made_at": ...}, {"made_at": 5}, {"schema": None}], ids=str)
def test_a_manifest_that_lacks_something_is_refused_before_anything_is_moved(
    backup: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert "is no backup" in refused(packed(backup, **changes), tmp_path)


@pytest.mark.parametrize("manifest", [b"[]", b"null", b"[" * 100_000, b'{"files": {"sidecar.db": null}}', b"\xff"])
def test_what_is_no_manifest_is_refused(backup: Path, tmp_path: Path, manifest: bytes) -> None:
    assert "is no backup" in refused(packed(backup, manifest), tmp_path)


@pytest.mark.parametrize("promised", [-2, -1, True, "5", 1.5, None])
def test_a_promise_that_is_no_size_unfolds_nothing(backup: Path, tmp_path: Path, promised: Any) -> None:
    """A size below nothing had all of an entry read at once, however much that was."""
    made = packed(backup, files={"index/bomb": (bytes(50_000_000), {"sha256": NOTHING, "bytes": promised})})
    tracemalloc.start()
    try:
        assert "is no backup" in refused(made, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_more_than_there_is_room_for_is_not_begun(backup: Path, tmp_path: Path) -> None:
    promise = {"sha256": NOTHING, "bytes": 2**60}
    assert "are free" in refused(packed(backup, files={"index/a": (b"", promise)}), tmp_path)


@pytest.mark.parametrize("name", ["index", "index/", "token", "../x", "sidecar.db/x", "index/../token", "/index/x"])
def test_names_of_no_file_of_a_data_folder_are_refused(backup: Path, tmp_path: Path, name: str) -> None:
    made = packed(backup, files={name: (b"", {"sha256": NOTHING, "bytes": 0})})
    assert "no file of a data folder" in refused(made, tmp_path)


def flipped(content: bytearray) -> None:
    start = content.find(b"sidecar.db") + 60
    content[start : start + 200] = bytes(byte ^ 0xFF for byte in content[start : start + 200])


def encrypted(content: bytearray) -> None:
    set_in_headers(content, {b"PK\x03\x04": 6, b"PK\x01\x02": 8}, 1)


def packed_in_an_unknown_way(content: bytearray) -> None:
    set_in_headers(content, {b"PK\x01\x02": 10}, 99)


def set_in_headers(content: bytearray, places: dict[bytes, int], value: int) -> None:
    for mark, place in places.items():
        at = -1
        while (at := content.find(mark, at + 1)) >= 0:
            content[at + place] = value


@pytest.mark.parametrize("spoil", [flipped, encrypted, packed_in_an_unknown_way])
def test_a_zip_that_cannot_be_read_is_refused(backup: Path, tmp_path: Path, spoil: Callable[[bytearray], None]) -> None:
    content = bytearray(backup.read_bytes())
    spoil(content)
    backup.write_bytes(content)
    assert "cannot restore" in refused(backup, tmp_path)


def test_a_good_one_is_put_back(backup: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    told, earlier = restore(backup, target, NOW)
    assert (told.files, earlier) == (1, None)
    assert (target / "sidecar.db").is_file()
