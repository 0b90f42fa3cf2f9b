"""onnxruntime tells its maker of every start unless it is told not to before it is imported; the embedder tells it.

In a network of its own, see `tests.drills.outside`. The control imports it as it comes.
"""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.memory.embedder import Embedder
from tests.drills.outside import Outside, run_scenario, why_not
from tests.fakes import tiny_minilm

QUIETENING = ("ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS", "JENKINS_URL", "TEAMCITY_VERSION", "TF_BUILD", "TRAVIS")
"""Where one of these is set it reports nothing, and the control would show nothing."""
QUIET_SECONDS = 12
"""The first report leaves after some 5 s."""


@pytest.fixture(autouse=True)
def _namespace() -> None:
    if reason := why_not():
        pytest.skip(f"no network namespace: {reason}")


async def embedding(outside: Outside) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        package = tiny_minilm.write(Path(folder))
        embedder = Embedder(Path(folder), threads=1, package=package)
        vectors = await embedder.embed(["the router falls back"])
        await asyncio.sleep(QUIET_SECONDS)
        await embedder.aclose()
        return {"vectors": len(vectors)}


async def as_it_comes(outside: Outside) -> dict[str, Any]:
    import onnxruntime  # type: ignore[import-untyped]

    for _ in range(300):
        if outside.lookups:
            break
        await asyncio.sleep(0.1)
    return {"version": onnxruntime.__version__}


def test_embedding_a_text_looks_up_and_reaches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in QUIETENING:
        monkeypatch.delenv(name, raising=False)
    with ThreadPoolExecutor() as both:
        quiet, control = both.map(run_scenario, (f"{__name__}:embedding", f"{__name__}:as_it_comes"))
    assert quiet["result"] == {"vectors": 1}
    assert (quiet["outside"]["connections"], quiet["outside"]["lookups"]) == (0, [])
    assert control["outside"]["lookups"], "onnxruntime reports nothing any more: what silences it can go"
