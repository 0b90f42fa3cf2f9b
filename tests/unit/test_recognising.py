"""Names by spaCy: its own library and a real pipeline where it is installed, and what is said where it is not."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.memory.entities import NewEntity
from app.memory.recognising import KINDS, MAX_CHARACTERS, MAX_NAMES, SpacyRecogniser
from tests.fakes import tiny_spacy
from tests.fakes.tiny_spacy import needs_spacy

TEXT = "In 1843 Ada\n  Lovelace wrote to Turin. ada lovelace and Q of Analytical Engines; again Ada Lovelace."


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    return tiny_spacy.write(tmp_path / "pipeline")


@pytest.mark.skipif(find_spec("spacy") is not None, reason="spaCy is installed")
async def test_without_spacy_it_says_so_and_finds_nothing() -> None:
    recogniser = SpacyRecogniser()
    assert (recogniser.problem, recogniser.model) == ("spaCy is not installed", None)
    assert await recogniser.names(TEXT) == ()


@needs_spacy
async def test_names_have_our_kinds_each_once_and_dates_are_none(pipeline: Path) -> None:
    recogniser = SpacyRecogniser(str(pipeline))
    assert recogniser.problem is None
    assert await recogniser.names(TEXT) == (
        NewEntity("Ada Lovelace", "person"),
        NewEntity("Turin", "place"),
        NewEntity("ada lovelace", "person"),
        NewEntity("Analytical Engines", "organisation"),
    )
    assert await recogniser.names(" \n ") == ()


@needs_spacy
async def test_a_long_text_is_read_in_part_and_its_names_are_bounded(pipeline: Path) -> None:
    recogniser = SpacyRecogniser(str(pipeline))
    many = await recogniser.names(" ".join(f"sketch{number}" for number in range(MAX_NAMES + 50)))
    assert many == tuple(NewEntity(f"sketch{number}", KINDS["WORK_OF_ART"]) for number in range(MAX_NAMES))
    assert await recogniser.names("x " * (MAX_CHARACTERS // 2) + "Ada Lovelace") == ()


@needs_spacy
async def test_it_is_loaded_once_however_many_ask(pipeline: Path) -> None:
    recogniser = SpacyRecogniser(str(pipeline))
    found = await asyncio.gather(*(recogniser.names(f"{number} Turin") for number in range(8)))
    assert found == [(NewEntity("Turin", "place"),)] * 8
    loaded = recogniser._loaded()
    assert loaded is not None
    await recogniser.names("Turin")
    assert recogniser._loaded() is loaded


@needs_spacy
async def test_a_pipeline_that_cannot_be_loaded_is_a_problem_and_no_error(tmp_path: Path, pipeline: Path) -> None:
    (pipeline / "config.cfg").write_text("[nlp]\nlang = 'none'\n")
    for name in (str(pipeline), str(tmp_path / "nowhere"), "en_never_installed"):
        recogniser = SpacyRecogniser(name)
        assert await recogniser.names(TEXT) == ()
        assert (recogniser.problem or "").startswith(f"spaCy's model {name} cannot be loaded: ")


@needs_spacy
async def test_an_installed_model_is_found_an_english_one_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_spacy.install(tmp_path, "de_tiny", "en_aaa_tiny")
    monkeypatch.syspath_prepend(tmp_path)
    recogniser = SpacyRecogniser()
    assert (recogniser.model, recogniser.problem) == ("en_aaa_tiny", None)
    assert [entity.name for entity in await recogniser.names("From Turin")] == ["Turin"]
    assert [e.name for e in await SpacyRecogniser("de_tiny").names("Nach Turin")] == ["Turin"]
