"""A real model file, made here: a llama of random weights that takes half a megabyte and a tenth of a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.routing.catalog import Endpoint, ModelSpec, Source, Sourced
from app.routing.locality import Location
from tests.engine.tiny_gguf import write_tiny_gguf


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a GGUF file that llama.cpp serves."""
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`: make embedded")
    return write_tiny_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf")


def embedded_spec(path: Path | str | None, window: int = 512, name: str = "tiny") -> ModelSpec:
    """An `embedded/<name>` model as the catalog describes it."""
    return ModelSpec(
        id=f"embedded/{name}",
        provider="embedded",
        wire="hosted_vllm",
        name=name,
        endpoint=Endpoint(None, Location.LOOPBACK, "served by this process on loopback"),
        context_window=Sourced(window, Source.CONFIG),
        max_output_tokens=Sourced(None, Source.DEFAULT),
        price=Sourced(None, Source.DEFAULT),
        tokenizer="llama2",
        gguf=None if path is None else str(path),
    )
