"""What keeps a sidecar running for years: backups, putting them back, logs for programs, a bundle for who helps."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.drills.processes import Drill, Running
from tests.fakes.providers import FakeProvider, KeyInError, Reply, Status
from tests.fakes.sidecar import TOKEN, SseEvent

PROMPT = "the heron nests behind the third windmill"
ANSWER = "marmalade on the barometer"
KEY = "unshapely-provider-key-777"


async def command(drill: Drill, *arguments: str, **env: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *arguments),
        env={**drill.environment, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 50)
    return process.returncode or 0, said.decode()


async def stop(sidecar: Running) -> str:
    sidecar.process.terminate()
    return (await sidecar.end())[2]


async def index(sidecar: Running, *texts: str) -> None:
    chunks = [{"path": f"{text[:1]}.md", "text": text} for text in texts]
    response = await sidecar.http.post("/api/v1/chunks", json={"chunks": chunks})
    assert response.status_code == 200, response.text


async def found(sidecar: Running, query: str) -> set[str]:
    response = await sidecar.http.post("/api/v1/search", json={"query": query})
    return {chunk["text"] for chunk in response.json()["chunks"]}


async def test_a_backup_under_load_comes_back_whole(tmp_path: Path) -> None:
    file = tmp_path / "backup.zip"
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        async with drill.running() as sidecar:
            await index(sidecar, "otters swim in rivers")
            loading = asyncio.create_task(ask(sidecar, 60))
            status, said = await command(drill, "backup", str(file), "--json")
            assert status == 0, said
            ends = await loading
            assert {end.data["ledger"] for end in ends} == {"stored"}
            await index(sidecar, "badgers dig at night")
            status, said = await command(drill, "restore", str(file))
            assert (status != 0, "another sidecar" in said) == (True, True), said
            await stop(sidecar)
        after = len(drill.rows())
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with zipfile.ZipFile(file) as packed:
            assert not [name for name in packed.namelist() if "token" in name or "lock" in name]
            assert TOKEN.encode() not in b"".join(packed.read(name) for name in packed.namelist())
        status, said = await command(drill, "restore", str(file))
        assert status == 0, said
        assert 1 <= len(drill.rows()) <= after
        assert drill.integrity() == "ok"
        (earlier,) = drill.data.glob("before-restore-*")
        assert (earlier / "sidecar.db").exists()
        async with drill.running() as sidecar:
            assert (await sidecar.chat()).data["ledger"] == "stored"
            assert await found(sidecar, "otters badgers") == {"otters swim in rivers"}
            assert (await sidecar.ledger_health())["status"] == "ok"


async def ask(sidecar: Running, times: int) -> list[SseEvent]:
    return [await sidecar.chat() for _ in range(times)]


async def small_backup(drill: Drill) -> Path:
    async with drill.running():
        pass
    file = drill.data.parent / "backup.zip"
    status, said = await command(drill, "backup", str(file))
    assert status == 0, said
    return file


def rewritten(file: Path, name: str, content: bytes | None, *extra: str) -> Path:
    """The backup with one member changed (None: left out), and others added."""
    changed = file.with_name(f"changed-{len(list(file.parent.iterdir()))}.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(changed, "w") as new:
        for member in old.namelist():
            if member != name or content is not None:
                new.writestr(member, old.read(member) if member != name else content or b"")
        for member in extra:
            new.writestr(member, b"x")
    return changed


async def test_what_is_no_whole_backup_changes_nothing(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        file = await small_backup(drill)
    before = {p.name for p in drill.data.iterdir()}
    manifest = json.loads(zipfile.ZipFile(file).read("manifest.json"))
    escaping = {**manifest, "files": {**manifest["files"], "../x": {"sha256": "0", "bytes": 1}}}
    (tmp_path / "text.zip").write_text("no zip")
    cases = [
        (rewritten(file, "sidecar.db", b"SQLite format 3\x00" + b"x" * 5000), "damaged"),
        (rewritten(file, "sidecar.db", None), "manifest says"),
        (rewritten(file, "nothing", None, "index/more"), "manifest says"),
        (rewritten(file, "manifest.json", json.dumps(escaping).encode(), "../x"), "no file of a data folder"),
        (rewritten(file, "manifest.json", b"{}"), "no backup"),
        (tmp_path / "text.zip", "zip"),
        (tmp_path / "away.zip", "No such file"),
    ]
    for changed, says in cases:
        status, said = await command(drill, "restore", str(changed))
        assert status == 1, said
        assert says in said
        assert "Traceback" not in said
        assert {p.name for p in drill.data.iterdir()} == before
    status, said = await command(drill, "backup", str(file))
    assert (status, "exists already" in said) == (1, True)


async def test_a_backup_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        async with drill.running():
            pass
    rows = drill.rows()
    with closing(sqlite3.connect(drill.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    status, said = await command(drill, "backup", str(tmp_path / "newer.zip"))
    assert status == 1
    assert "newer" in said
    assert "Traceback" not in said
    assert len(drill.rows()) == len(rows)


async def test_log_lines_for_programs_carry_the_request_and_no_content(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        provider.script(Reply((ANSWER,)), Status(500, message=ANSWER))
        async with drill.running(warm=False, SIDECAR_LOG_FORMAT="json", SIDECAR_LOG_LEVEL="debug") as sidecar:
            headers = {"x-request-id": "mine-1"}
            response = await sidecar.http.post("/api/v1/chat", json={"query": PROMPT}, headers=headers)
            assert ANSWER in response.text
            await sidecar.http.post("/api/v1/chat", json={"query": PROMPT}, headers={"x-request-id": "mine-2"})
            log = await stop(sidecar)
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines
    assert all({"at", "level", "logger", "message"} <= line.keys() for line in lines)
    assert {"mine-1", "mine-2"} <= {line.get("request_id") for line in lines}
    assert PROMPT not in log
    assert ANSWER not in log
    assert TOKEN not in log
    kept = drill.data / "sidecar.log"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [json.loads(line) for line in kept.read_text("utf-8").splitlines()]


async def test_a_bundle_helps_and_tells_nothing(tmp_path: Path) -> None:
    planted = (PROMPT, ANSWER, TOKEN, KEY, "whisper this to nobody")
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        profiles = drill.config / "profiles.yaml"
        text = profiles.read_text("utf-8").replace("name: Open", "name: Open\n  system_prompt: whisper this to nobody")
        profiles.write_text(text, "utf-8")
        models = drill.config / "models.yaml"
        models.write_text(
            models.read_text("utf-8").replace("tokenizer:", "api_key_env: LAB_KEY\n  tokenizer:"), "utf-8"
        )
        provider.script(Reply((ANSWER,)), KeyInError(500))
        async with drill.running(warm=False, LAB_KEY=KEY) as sidecar:
            for _ in range(2):
                await sidecar.chat(PROMPT)
            file = tmp_path / "bundle.zip"
            port = sidecar.url.rpartition(":")[2]
            _, said = await command(drill, "doctor", "--bundle", str(file), SIDECAR_PORT=port, LAB_KEY=KEY)
    assert file.exists(), said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with zipfile.ZipFile(file) as packed:
        content = {name: packed.read(name).decode() for name in packed.namelist()}
    everything = "\n".join(content.values())
    assert [word for word in planted if word in everything] == []
    assert "ollama/llama3:8b" in content["config/models.yaml"]
    assert json.loads(content["about.json"])["version"]
    database = json.loads(content["database.json"])
    assert database["schema"]
    assert sum(database["attempts"].values()) == len(drill.rows())
    health = next(c for c in json.loads(content["checks.json"]) if c["name"] == "sidecar")["facts"]["health"]
    assert {"config", "ledger", "index", "litellm", "scheduler", "notifications"} <= health["parts"].keys()
    assert content["log.txt"].strip()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
async def test_a_home_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    """As in the container: a read-only root, one volume for data."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        nowhere: dict[str, Any] = {
            name: str(home) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "TMPDIR")
        }
        async with drill.running(**nowhere) as sidecar:
            assert (await sidecar.chat()).name == "done"
        assert list(home.iterdir()) == [], "nothing is written outside the data folder"
