"""What says that an index is private is in every backup that holds what it speaks of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from app.store import backup


def test_a_mark_that_comes_while_the_index_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "index", tmp_path / "copy"
    (source / "c1_a.lance").mkdir(parents=True)
    (source / "c1_a.lance" / "1.lance").write_text("rows")
    copy = shutil.copy2

    def and_a_mark(path: Path, place: Path) -> Any:
        (source / "c1_a.private").touch()
        return copy(path, place)

    monkeypatch.setattr(shutil, "copy2", and_a_mark)
    backup._copy_index(source, target)
    assert (target / "c1_a.private").exists()
    assert (target / "c1_a.lance" / "1.lance").read_text() == "rows"
