"""What `make sidecar` does to what PyInstaller has put together."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml._yaml

from freeze.build import size, strip


def test_a_link_is_not_the_file_again(tmp_path: Path) -> None:
    (tmp_path / "libx.so.1.0").write_bytes(b"a" * 100_000)
    (tmp_path / "libx.so.1").symlink_to("libx.so.1.0")
    assert 100_000 < size(tmp_path) < 101_000


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("strip") is None, reason="needs Linux' strip")
def test_libraries_are_stripped_and_nothing_else_is_touched(tmp_path: Path) -> None:
    library = Path(yaml._yaml.__file__).read_bytes()
    kept = {"data/v1.some-table": b"PAR1", "data/notes.so.txt": b"text", "numpy.libs/libblas.so.3": library}
    for name, content in kept.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    module = tmp_path / "module.abi3.so"
    module.write_bytes(library)

    strip(tmp_path)
    assert module.stat().st_size <= len(library)
    assert module.read_bytes()[:4] == b"\x7fELF"
    assert {name: (tmp_path / name).read_bytes() for name in kept} == kept
