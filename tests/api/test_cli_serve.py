"""The commands against the sidecar itself, started as a person starts it, with the built-in model alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.command_line import ROOT, run, without_settings


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    folder = home / "config"
    folder.mkdir()
    (folder / "models.yaml").write_text(
        "models: [{id: 'builtin/extractive', context_window: 100000}, {id: 'gpt-4o'}]\n"
    )
    (folder / "routing.yaml").write_text(
        "rules:\n"
        "  - {name: debug, conditions: {task_type: debugging}, model: 'gpt-4o', fallback: 'builtin/extractive'}\n"
        "  - {name: rest, conditions: {}, model: 'builtin/extractive'}\n"
    )
    (folder / "profiles.yaml").write_text(
        "default_workspace: open\nprofiles: [{id: open}, {id: secret, block_cloud_apis: true}]\n"
    )
    folders = {"SIDECAR_DATA_DIR": str(home / "data"), "SIDECAR_CONFIG_DIR": str(folder), "HOME": str(home)}
    return without_settings() | folders | {"PYTHONIOENCODING": "utf-8"}


@pytest.fixture(scope="module")
def running(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", "0", "--log-level", "error"],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout:
        ready = json.loads(process.stdout.readline())
        assert ready["event"] == "ready"
        yield environment | {"SIDECAR_PORT": str(ready["port"])}
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in ((0,) if os.name == "posix" else (0, 1, signal.SIGTERM))


def test_chat_leaves_a_row_that_usage_shows(running: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "retry.py"
    file.write_text("def wait_before_retry(attempt):\n    return 2 ** attempt\n")
    asked = run(["chat", "how long is the wait before a retry?", "--file", f"{file}:2", "--context"], running)
    assert asked.returncode == 0, asked.stderr
    assert "def wait_before_retry(attempt):\n    return 2 ** attempt" in asked.stdout
    assert f"**{file}**, lines 1 to 2" in asked.stdout
    assert "rule rest -> builtin/extractive (in_process)" in asked.stderr
    assert "cost $0" in asked.stderr
    shown = json.loads(run(["usage", "today", "--by", "model,workspace", "--json"], running).stdout)
    assert shown["totals"]["requests"] >= 1
    assert shown["groups"][0]["key"] == {"model": "builtin/extractive", "workspace": "open"}
    assert "builtin/extractive  open" in run(["usage", "--by", "model,workspace,day"], running).stdout


def test_without_streaming_and_as_json(running: dict[str, str]) -> None:
    whole = json.loads(run(["chat", "-", "--no-stream", "--json"], running, stdin="hello\n").stdout)
    assert whole["model"] == "builtin/extractive"
    lines = [json.loads(line) for line in run(["chat", "hello", "--json"], running).stdout.splitlines()]
    assert "".join(e["data"]["text"] for e in lines if e["event"] == "token") == whole["text"]
    assert [lines[0]["event"], lines[-1]["event"]] == ["route", "done"]


def test_explain_names_what_a_private_workspace_may_not_use(running: dict[str, str]) -> None:
    done = run(["explain", "why?", "-t", "debugging", "-w", "secret", "--messages"], running)
    assert done.returncode == 0, done.stderr
    assert "rule: debug" in done.stdout
    assert "gpt-4o  rule  policy" in done.stdout
    assert "--- user" in done.stdout
    assert run(["chat", "hi", "-w", "secret", "-m", "gpt-4o"], running).stderr.endswith("(no_permitted_model)\n")


def test_models_and_doctor(running: dict[str, str]) -> None:
    assert "2.5 / 10" in run(["models"], running).stdout
    found = json.loads(run(["doctor", "--json"], running).stdout)
    assert found["ok"]
    levels = {check["name"]: check["level"] for check in found["checks"]}
    assert levels["configuration"] == levels["data folder"] == levels["sidecar"] == "ok"
    assert levels["key OPENAI_API_KEY"] == "warning"


def test_a_second_sidecar_on_the_folder_says_who_holds_it(running: dict[str, str]) -> None:
    second = run(["serve", "--port", "0"], running)
    assert second.returncode == 75
    assert "another sidecar (pid " in second.stderr
    assert "Traceback" not in second.stderr


def test_a_configuration_that_cannot_be_used(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models: 3\n")
    (tmp_path / "routing.yaml").write_text("rules: 3\n")
    data = {"SIDECAR_DATA_DIR": str(tmp_path / "data")}
    done = run(["serve", "--port", "0", "--config-dir", str(tmp_path)], environment | data)
    assert done.returncode == 1
    assert "models.yaml:1: models" in done.stderr
    assert "routing.yaml:1: rules" in done.stderr
    assert "Traceback" not in done.stderr


def test_openapi_needs_no_sidecar_and_is_the_same_twice(environment: dict[str, str]) -> None:
    first, second = (run(["openapi"], environment).stdout for _ in range(2))
    assert first == second
    assert first.endswith("}\n")
    assert "/api/v1/chat" in json.loads(first)["paths"]
