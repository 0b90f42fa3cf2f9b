"""What a request leaves in the ledger: the row of each attempt, beside the call, and after the worst of ends."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.laboratory import Laboratory, eventually
from tests.fakes.providers import CutMidStream, FakeProvider, Reply, Status
from tests.fakes.sidecar import TOKEN, write_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "the wine is under the stairs"
KILLS = 3


async def test_every_column_of_a_good_row(lab: Laboratory) -> None:
    lab.provider.script(
        Reply(input_tokens=1000, output_tokens=100, cached_input_tokens=400, reasoning_tokens=20, delay=0.02)
    )
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    events = await lab.chat(query=SECRET, model="openai/priced", workspace="open", task_type="creative")
    (row,) = lab.rows(events[0].data["request_id"])
    created, settled = (datetime.fromisoformat(row.pop(name)) for name in ("created_at", "settled_at"))
    assert before <= created <= settled <= datetime.now(UTC)
    assert row.pop("id")
    assert row.pop("latency_ms") >= row.pop("time_to_first_token_ms") >= 20
    assert row == {
        "request_id": events[0].data["request_id"],
        "attempt": 1,
        "workspace_profile_id": "open",
        "session_id": None,
        "agent": None,
        "task_type": "creative",
        "rule": "rest",
        "provider": "openai",
        "model": "openai/priced",
        "location": "cloud",
        "status": "ok",
        "input_tokens": 1000,
        "cached_input_tokens": 400,
        "cache_write_tokens": None,
        "output_tokens": 100,
        "reasoning_tokens": 20,
        "cost_micro_usd": 2400,
        "cost_usd": 0.0024,
        "cost_source": "computed",
        "success": 1,
        "error_code": None,
        "error_message": None,
    }


async def test_one_row_for_each_attempt(lab: Laboratory) -> None:
    lab.provider.script(Status(503), Status(404))
    events = await lab.chat(query="hi", model="ollama/listed")
    rows = lab.rows(events[0].data["request_id"])
    assert [(r["attempt"], r["model"], r["status"], r["success"], r["error_code"]) for r in rows] == [
        (1, "ollama/listed", "error", 0, "overloaded"),
        (2, "ollama/listed", "error", 0, "model_not_found"),
        (3, "ollama/small", "ok", 1, None),
    ]
    assert all(row["error_message"] for row in rows[:2])
    assert all(row["cost_micro_usd"] == 0 for row in rows)


async def test_a_cut_answer_costs_what_arrived(lab: Laboratory) -> None:
    lab.provider.script(CutMidStream(after=2))
    events = await lab.chat(query="hi", model="openai/priced")
    (row,) = lab.rows(events[0].data["request_id"])
    assert (row["status"], row["error_code"], row["cost_source"]) == ("error", "connection_lost", "estimated")
    assert row["output_tokens"] > 0
    assert row["cost_micro_usd"] > 0


async def test_the_row_is_pending_while_the_model_answers(lab: Laboratory) -> None:
    lab.provider.script(Reply(text=tuple("abcdefgh"), delay=0.05))
    asking = asyncio.create_task(lab.chat(query="hi"))
    await eventually(lambda: any(row["status"] == "pending" for row in lab.sidecar.rows()))
    (pending,) = [row for row in lab.sidecar.rows() if row["status"] == "pending"]
    assert (pending["success"], pending["settled_at"], pending["model"]) == (None, None, "ollama/small")
    assert (await lab.http.get("/api/v1/usage")).json()["totals"]["pending"] == 1
    await asking
    assert not [row for row in lab.sidecar.rows() if row["status"] == "pending"]


async def test_a_receipt_tells_the_decision_and_no_text(lab: Laboratory) -> None:
    lab.provider.script(Reply(text=("the answer nobody may keep",)))
    events = await lab.chat(query=SECRET, context={"session_state": SECRET}, metadata={"tier": "gold"})
    found = lab.sidecar.rows("SELECT * FROM request_receipts")
    (receipt,) = [r for r in found if r["request_id"] == events[0].data["request_id"]]
    assert json.loads(receipt["facts"])["metadata"] == {"tier": "gold"}
    assert json.loads(receipt["route"])["rule"] == "rest"
    assert json.loads(receipt["context"])["model"] == "ollama/small"
    folder = lab.sidecar.settings.data_dir
    stored = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert len(stored) > 4096
    assert SECRET.encode() not in stored
    assert b"the answer nobody may keep" not in stored


# -- killed ------------------------------------------------------------------------------------------------------


class Process:
    """`llm-sidecar serve` on its own folders."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "data" / "sidecar.db"
        own = {"SIDECAR_CONFIG_DIR": str(folder / "config"), "SIDECAR_DATA_DIR": str(folder / "data")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"],
            env={**os.environ, **own, "SIDECAR_PORT": "0", "SIDECAR_TOKEN": TOKEN, "SIDECAR_LOG_LEVEL": "error"},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
        )

    async def url(self) -> str:
        assert self.process.stdout is not None
        line = json.loads(await asyncio.to_thread(self.process.stdout.readline))
        return f"http://127.0.0.1:{line['port']}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def rows(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.database)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute("SELECT * FROM llm_usage_log ORDER BY created_at")]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for one in started:
        one.kill()


@asynccontextmanager
async def asking(url: str, **body: Any) -> AsyncIterator[AsyncIterator[str]]:
    """What is streamed, as it arrives. The connection stays open until the end of the block."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=20) as http,
        http.stream("POST", "/api/v1/chat", json={"query": "hi", **body}) as response,
    ):
        yield response.aiter_text()


async def until(texts: AsyncIterator[str], word: str) -> str:
    """What was streamed, up to the first event of that name; the rest is left unread."""
    seen = ""
    async for text in texts:
        seen += text
        if f"event: {word}" in seen:
            break
    return seen


async def test_kill_9_in_mid_stream_and_right_after_done(tmp_path: Path, processes: list[Process]) -> None:
    async with FakeProvider() as provider:
        write_config(
            tmp_path / "config",
            models=[{"id": "ollama/m", "api_base": provider.url, "context_window": 8192}],
            rules=[{"name": "all", "conditions": {}, "model": "ollama/m"}],
        )
        provider.script(Reply(text=tuple("abcdefgh" * 50), delay=0.02))
        processes.append(Process(tmp_path))
        async with asking(await processes[-1].url()) as texts:
            await until(texts, "token")
            await asyncio.sleep(0.1)
            processes[-1].kill()
    assert [row["status"] for row in processes[-1].rows()] == ["pending"]

    for number in range(KILLS):
        processes.append(Process(tmp_path))
        async with asking(await processes[-1].url(), model="builtin/extractive") as texts:
            seen = await until(texts, "done")
            processes[-1].kill()
        assert '"ledger":"stored"' in seen.partition("event: done")[2]
        rows = processes[-1].rows()
        assert [row["status"] for row in rows] == ["interrupted"] + ["ok"] * (number + 1)
        assert rows[0]["settled_at"] is not None
