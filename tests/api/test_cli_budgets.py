"""`llm-sidecar budgets` and `notifications` against a running sidecar."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from app.agents.notifications import News
from app.cli.root import main
from tests.fakes.sidecar import TOKEN, RunningSidecar, running_sidecar

BUDGETS = [
    {"period": "month", "limit_usd": 50, "on_limit": "block"},
    {"period": "request", "limit_usd": 1, "on_limit": "cheaper", "shadow": True, "task_type": "debugging"},
]


async def cli(running: RunningSidecar, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setenv("SIDECAR_PORT", running.url.rpartition(":")[2])
    monkeypatch.setenv("SIDECAR_TOKEN", TOKEN)
    return await asyncio.to_thread(main, arguments)


async def test_what_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models, rules = [{"id": "builtin/extractive"}], [{"name": "all", "conditions": {}, "model": "builtin/extractive"}]
    extra = {"budgets": BUDGETS, "notifications": {"desktop": False}}
    async with running_sidecar(tmp_path, models=models, rules=rules, profiles_extra=extra) as running:
        assert await cli(running, monkeypatch, "budgets") == 0
        shown = capsys.readouterr().out
        for word in ("everything", "month", "$50", "block", "debugging", "cheaper (shadow)", "0%"):
            assert word in shown, word
        assert await cli(running, monkeypatch, "budgets", "--json") == 0
        assert json.loads(capsys.readouterr().out)["budgets"][0]["limit_usd"] == 50

        ids = [await running.services.inbox.post(News("open", "test", f"news {n}", "the body")) for n in range(2)]
        assert await cli(running, monkeypatch, "notifications", "list", "--unread") == 0
        assert "news 1" in capsys.readouterr().out
        assert await cli(running, monkeypatch, "notifications", "read", str(ids[0])) == 0
        assert "the body" in capsys.readouterr().out
        assert await cli(running, monkeypatch, "notifications", "archive", str(ids[0])) == 0
        assert await cli(running, monkeypatch, "notifications", "read", "--all") == 0
        assert "1 read" in capsys.readouterr().out
        assert await cli(running, monkeypatch, "notifications", "read") == 2
        assert await cli(running, monkeypatch, "notifications", "read", "no-such/../id") == 2
        assert await cli(running, monkeypatch, "notifications", "list", "--json") == 0
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["unread"] == 0
