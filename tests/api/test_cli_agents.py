"""`llm-sidecar agents` and `trigger`, as processes against a sidecar."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.fakes.command_line import cli
from tests.fakes.sidecar import RunningSidecar, running_sidecar, write_config

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    folder = tmp_path_factory.mktemp("cli-agents")
    write_config(
        folder / "config",
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
    )
    entries: list[dict[str, Any]] = [
        {"name": "tidy", "agent": "maintenance", "schedule": "0 3 * * *", "timezone": "UTC"},
        {"name": "elsewhere", "agent": "of-nobody"},
    ]
    (folder / "config" / "agents.yaml").write_text(yaml.safe_dump({"agents": entries}), "utf-8")
    async with running_sidecar(folder) as running:
        yield running


async def test_trigger_prints_the_summary_and_where_it_is_from(sidecar: RunningSidecar) -> None:
    status, out, err = await cli(sidecar, "trigger", "tidy")
    assert status == 0, err
    assert out.startswith("- **backup**: sidecar-")
    assert err.startswith("run ")


async def test_a_dry_run_lists_what_it_held_back(sidecar: RunningSidecar) -> None:
    status, out, err = await cli(sidecar, "agents", "run", "tidy", "--dry-run")
    assert status == 0
    assert "not done: a dry run" in out
    assert "dry run: would store backup" in err


async def test_trigger_as_json_and_without_waiting(sidecar: RunningSidecar) -> None:
    status, out, _ = await cli(sidecar, "trigger", "tidy", "--dry-run", "--json")
    assert (status, json.loads(out)["state"]) == (0, "ok")
    status, out, _ = await cli(sidecar, "trigger", "tidy", "--dry-run", "--no-wait")
    run = await sidecar.http.get(f"/api/v1/runs/{out.strip()}")
    assert (status, run.status_code) == (0, 200)
    await sidecar.services.agents.runs.wait(out.strip(), 10)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("trigger", "nobody"), 1, "agent_not_found"),
        (("trigger", "elsewhere"), 1, "no package offers an agent `of-nobody`"),
        (("trigger", "tidy", "-i", "x=1"), 1, "holds a key that is not known"),
        (("trigger", "tidy", "-i", "x"), 2, "expected KEY=VALUE"),
        (("trigger", "tidy", "-i", "{x"), 2, "not valid JSON"),
        (("agents", "logs", "nobody"), 1, "agent_not_found"),
        (("agents", "cancel", "none"), 1, "run_not_found"),
    ],
)
async def test_what_is_wrong(sidecar: RunningSidecar, arguments: tuple[str, ...], status: int, says: str) -> None:
    found, _, err = await cli(sidecar, *arguments)
    assert (found, says in err) == (status, True), err


@pytest.mark.parametrize("group", ["agents", "models", "sessions", "keys", "notifications"])
async def test_a_group_alone_lists(sidecar: RunningSidecar, group: str) -> None:
    status, out, _ = await cli(sidecar, group, "--json")
    assert (status, json.loads(out)) == (0, json.loads((await cli(sidecar, group, "list", "--json"))[1]))
    assert isinstance(json.loads(out)[group], list)


async def test_list_next_pause_logs(sidecar: RunningSidecar) -> None:
    _, out, err = await cli(sidecar, "agents", "list")
    assert out.splitlines()[1].split()[:2] == ["tidy", "scheduled"]
    assert "elsewhere: lacks its package: no package offers" in err
    _, out, _ = await cli(sidecar, "agents", "next", "tidy", "--json")
    assert [due["due"][11:19] for due in json.loads(out)["due"]] == ["03:00:00"] * 5
    _, out, _ = await cli(sidecar, "agents", "next")
    assert out.splitlines()[1].split()[-1] == "tidy"
    _, out, _ = await cli(sidecar, "agents", "pause", "tidy")
    assert out == "tidy: paused\n"
    _, out, _ = await cli(sidecar, "agents", "resume", "tidy")
    assert out.startswith("tidy: scheduled, next due ")
    await cli(sidecar, "trigger", "tidy", "--dry-run")
    _, out, err = await cli(sidecar, "agents", "logs", "tidy", "-n", "1")
    assert "ok (dry run)" in out
    assert "backup: not done: a dry run" in out


async def test_doctor_says_what_each_agent_lacks(sidecar: RunningSidecar) -> None:
    _, out, _ = await cli(sidecar, "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert checks["agent tidy"]["level"] == "ok"
    assert checks["agent elsewhere"]["level"] == "warning"
    assert "there is no agent `of-nobody`" in checks["agent elsewhere"]["detail"]
