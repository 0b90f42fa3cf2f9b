"""Killed at the moment that matters: between a model's last byte and the row.

The short form is in `make test`; `make drills` repeats each break as often as DRILL_KILLS says.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.drills.processes import Drill, Stream
from tests.fakes.providers import FakeProvider, Reply

if sys.platform == "win32":
    pytest.skip("needs signals", allow_module_level=True)

KILLS = int(os.environ.get("DRILL_KILLS", "3"))


@pytest.mark.timeout(60 + 40 * KILLS)
async def test_killed_between_the_models_end_and_the_row(tmp_path: Path) -> None:
    chance, found = random.Random(20261127), Counter[str]()
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        provider.always(Reply(("a ",) * 4))
        asked: list[str] = []
        for _ in range(KILLS):
            provider.requests.clear()
            async with drill.running(warm=False) as sidecar:
                stream = Stream()
                asking = asyncio.create_task(sidecar.stream(stream))
                while not (provider.chats and provider.chats[-1].finished_at):  # noqa: ASYNC110 (no await may come between)
                    await asyncio.sleep(0)
                await asyncio.sleep(chance.uniform(0, 0.004))
                sidecar.process.kill()
                await asking
            if stream.request_id is not None:
                asked.append(stream.request_id)
        async with drill.running(warm=False):
            pass
    rows = {row["request_id"]: row["status"] for row in drill.rows()}
    found.update(rows.get(request, "missing") for request in asked)
    print(f"{KILLS} kills between the model's end and the row: {dict(found)}")
    assert len(rows) == KILLS, "every call that went out has its row, also where its client read nothing"
    assert set(rows.values()) <= {"ok", "interrupted"}
    assert found["missing"] == 0
    assert drill.integrity() == "ok"
