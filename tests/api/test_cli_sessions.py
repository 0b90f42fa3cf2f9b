"""`llm-sidecar sessions` and `chat --session`: processes of their own against a real sidecar."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fakes.command_line import cli
from tests.fakes.providers import FakeProvider, Reply
from tests.fakes.sidecar import running_sidecar


async def test_sessions_from_the_command_line(tmp_path: Path) -> None:
    many = [{"role": "user" if i % 2 == 0 else "assistant", "content": f"message {i}"} for i in range(1_100)]
    file = tmp_path / "talk.jsonl"
    file.write_text("\n".join(json.dumps(message) for message in many), encoding="utf-8")
    async with (
        FakeProvider(models={"small": 8192}) as local,
        running_sidecar(
            tmp_path,
            models=[{"id": "ollama/small", "api_base": local.url, "context_window": 8192}],
            rules=[{"name": "all", "conditions": {}, "model": "ollama/small"}],
        ) as sidecar,
    ):
        local.script(Reply(("Seven.",)))
        assert await cli(sidecar, "sessions", "create", "mine", "--title", "Numbers") == (0, "mine\n", "")
        status, out, _ = await cli(sidecar, "chat", "--session", "mine", "which?")
        assert (status, out) == (0, "Seven.\n")
        status, out, _ = await cli(sidecar, "sessions", "show", "mine")
        assert out == "user: which?\nassistant: Seven.\n"
        status, out, err = await cli(sidecar, "chat", "--session", "nobody", "which?")
        assert (status, out) == (1, "")
        assert "llm-sidecar sessions create nobody" in err
        imported = await cli(sidecar, "sessions", "import", str(file), "--id", "long", "-w", "work")
        assert imported == (0, "long\n", "")
        _, out, _ = await cli(sidecar, "sessions", "list", "--json")
        listed = {s["id"]: s for s in json.loads(out)["sessions"]}
        assert (listed["long"]["message_count"], listed["long"]["private"]) == (1_100, True)
        _, out, _ = await cli(sidecar, "sessions", "list")
        assert [line.split()[:3] for line in out.splitlines()[1:]] == [
            ["long", "work", "(private)"],
            ["mine", "open", "2"],
        ]
        assert (await cli(sidecar, "sessions", "delete", "long"))[0] == 0
        status, _, err = await cli(sidecar, "sessions", "show", "long")
        assert (status, "session_not_found" in err) == (1, True)


async def test_an_import_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    many = [{"role": "user", "content": "x"} for _ in range(600)]
    many[550]["role"] = "robot"
    async with running_sidecar(
        tmp_path,
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "a", "conditions": {}, "model": "builtin/extractive"}],
    ) as sidecar:
        status, out, err = await cli(sidecar, "sessions", "import", "-", "--id", "x", stdin=json.dumps(many))
        assert (status, out) == (1, "")
        assert "messages[50].role" in err
        assert (await sidecar.http.get("/api/v1/sessions")).json()["sessions"] == []
        for bad in ("nonsense", "{}", '{"messages": 7}', "7"):
            status, _, err = await cli(sidecar, "sessions", "import", "-", stdin=bad)
            assert status == 2, err
            assert err.startswith("llm-sidecar: -")
