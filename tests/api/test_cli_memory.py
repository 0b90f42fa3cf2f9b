"""`llm-sidecar search` and `chat --retrieve`: processes of their own against a real sidecar."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.command_line import cli
from tests.fakes.sidecar import running_sidecar

BUILTIN = "builtin/extractive"
RULES = [{"name": "all", "conditions": {}, "model": BUILTIN}]


async def test_search_and_chat_from_the_command_line(tmp_path: Path) -> None:
    text = "def decide_retry(error):\n" + "".join(f"    step_{n} = \x1b[31m{n}\n" for n in range(20))
    chunks = [
        {"path": "app/retry.py", "text": text, "symbol": "decide_retry"},
        {"path": "app/other.py", "text": "def unrelated(): ..."},
    ]
    async with running_sidecar(tmp_path, models=[{"id": BUILTIN}], rules=RULES) as sidecar:
        status, out, err = await cli(sidecar, "search", "nothing", "there")
        assert (status, out) == (0, "")
        assert "nothing found in workspace open" in err
        assert (await sidecar.http.post("/api/v1/chunks", json={"chunks": chunks})).status_code == 200
        status, out, _ = await cli(sidecar, "search", "decide_retry", "-k", "1")
        lines = out.splitlines()
        assert (status, lines[0]) == (0, "app/retry.py:1-21  decide_retry")
        assert lines[1:4] == ["  def decide_retry(error):", "      step_0 = [31m0", "      step_1 = [31m1"]
        assert lines[9] == "  … 13 more lines"
        status, out, _ = await cli(sidecar, "search", "decide_retry", "--json")
        assert json.loads(out)["chunks"][0]["text"] == text
        status, out, _ = await cli(sidecar, "search", "decide_retry", "-w", "work")
        assert (status, out) == (0, "")
        status, _, err = await cli(sidecar, "search", "x", "-w", "nobody")
        assert (status, "unknown_workspace" in err) == (1, True)
        assert (await cli(sidecar, "search", "x", "-k", "0"))[0] == 2
        _, _, err = await cli(sidecar, "chat", "where is decide_retry?", "--retrieve", "--context")
        assert "chunk:app/retry.py:1-21" in err
        _, out, _ = await cli(sidecar, "explain", "where is decide_retry?", "--retrieve", "--messages", "--json")
        assert "def decide_retry(error)" in out
