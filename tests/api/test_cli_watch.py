"""`llm-sidecar usage watch` beside a sidecar that works, and goes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from tests.fakes.sidecar import TOKEN, running_sidecar


async def test_watch_shows_what_comes_and_waits_for_a_sidecar_that_has_gone(tmp_path: Path) -> None:
    models, rules = [{"id": "builtin/extractive"}], [{"name": "all", "conditions": {}, "model": "builtin/extractive"}]
    async with asyncio.timeout(90):
        async with running_sidecar(tmp_path, models=models, rules=rules) as sidecar:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "app", "usage", "watch", "--every", "0.5", "--json"),
                env={**os.environ, "SIDECAR_PORT": str(sidecar.settings.port), "SIDECAR_TOKEN": TOKEN},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=1 << 20,
            )
            assert process.stdout is not None
            assert process.stderr is not None
            assert json.loads(await process.stdout.readline())["totals"]["requests"] == 0
            answer = await sidecar.http.post("/api/v1/chat", json={"query": "hello", "stream": False})
            assert answer.status_code == 200
            while json.loads(await process.stdout.readline())["totals"]["requests"] != 1:
                pass
        assert b"no sidecar is running" in await process.stderr.readline()
        assert b"looking again" in await process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
