"""Schemathesis holds a running sidecar against openapi.json: generated requests, valid and invalid, with a fixed seed.

The built-in model alone, so that nothing leaves; a sidecar in a process of its own, so that what is tested is what
ships. SCHEMATHESIS_SECONDS and SCHEMATHESIS_SEED widen the search.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from app.main import openapi_document
from tests.fakes.sidecar import TOKEN, write_config

SECONDS = int(os.environ.get("SCHEMATHESIS_SECONDS", "25"))
SEED = os.environ.get("SCHEMATHESIS_SEED", "20261127")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
ENDLESS = ("/api/v1/events", "/api/v1/notifications/events")
"""Streams that end when their reader does; tests/api/test_events.py reads them."""
NO_TEXT_MODEL = ("/v1/completions",)
"""The built-in model completes no text: 502 is the right answer there. tests/clients asks it with a model that does."""


@pytest.mark.timeout(SECONDS + 120)
async def test_what_is_described_is_what_is_answered(tmp_path: Path) -> None:
    write_config(
        tmp_path / "config",
        models=[{"id": "builtin/extractive", "context_window": 100_000}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
    )
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(openapi_document()), "utf-8")
    settings = {"CONFIG_DIR": tmp_path / "config", "DATA_DIR": tmp_path / "data", "PORT": "0", "TOKEN": TOKEN}
    sidecar = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "serve", "--log-level", "error"),
        env={**os.environ, **{f"SIDECAR_{name}": str(value) for name, value in settings.items()}},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert sidecar.stdout is not None
        port = json.loads(await asyncio.wait_for(sidecar.stdout.readline(), 30))["port"]
        said, status = await schemathesis(document, port, tmp_path)
        assert sidecar.returncode is None, "the sidecar ended"
    finally:
        if sidecar.returncode is None:
            sidecar.terminate()
            await sidecar.communicate()
    assert status == 0, said[-20_000:]


async def schemathesis(document: Path, port: int, folder: Path) -> tuple[str, int | None]:
    """What it said, and its exit status: 0 where every answer is as described."""
    options = [
        *("--url", f"http://127.0.0.1:{port}", "-H", f"Authorization: Bearer {TOKEN}"),
        *("--seed", SEED, "--max-time", str(SECONDS), "--max-examples", "5", "--phases", "coverage,fuzzing"),
        *("--continue-on-failure", "--no-shrink", "--checks", CHECKS, "--request-timeout", "10", "--warnings", "off"),
        *("--generation-database", "none"),
        *(part for path in (*ENDLESS, *NO_TEXT_MODEL) for part in ("--exclude-path", path)),
    ]
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "run", str(document), *options),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return said.decode(), process.returncode
