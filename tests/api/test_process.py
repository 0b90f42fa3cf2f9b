"""The sidecar as a process: its ready line, its locks, its end."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.config.secrets import Secrets
from app.main import configure_logging
from app.process import EXIT_LOCKED, EXIT_PORT
from tests.fakes.sidecar import TOKEN, write_config

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `llm-sidecar serve` on its own folders; what still runs at the end is killed, by its own handle."""
    write_config(
        tmp_path / "config",
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "default", "conditions": {}, "model": "builtin/extractive"}],
    )
    started: list[subprocess.Popen[str]] = []

    def start(**env: str) -> subprocess.Popen[str]:
        folders = {"SIDECAR_CONFIG_DIR": str(tmp_path / "config"), "SIDECAR_DATA_DIR": str(tmp_path / "data")}
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"],
            env={**os.environ, **folders, "SIDECAR_PORT": "0", "SIDECAR_TOKEN": TOKEN, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    return process.communicate(timeout=15)


@contextmanager
def client(port: int) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=15) as http:
        yield http


def test_it_says_when_it_is_ready_and_ends_in_order(start: Start) -> None:
    process = start()
    line = ready(process)
    assert line.keys() == {"event", "port", "pid", "version", "instance_id"}
    assert (line["event"], line["pid"]) == ("ready", process.pid)
    with client(line["port"]) as http:
        health = http.get("/health").json()
        assert (health["status"], health["instance_id"]) == ("ok", line["instance_id"])
        assert http.get("/api/v1/health").json()["version"] == line["version"]
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, log = end(process)
    assert time.monotonic() - began < 5
    assert process.returncode == 0
    assert out == ""
    assert TOKEN not in log
    assert "Traceback" not in log


def test_health_answers_while_the_program_is_still_starting(start: Start) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    process = start(SIDECAR_PORT=str(port))
    seen: list[str] = []
    deadline = time.monotonic() + 15
    with client(port) as http:
        while "ok" not in seen and time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                seen.append(http.get("/health").json()["status"])
    assert seen[-1] == "ok"
    process.send_signal(signal.SIGINT)
    end(process)
    assert process.returncode == 0


def test_a_request_during_the_start_waits_for_it(start: Start) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    start(SIDECAR_PORT=str(port))
    deadline = time.monotonic() + 15
    with client(port) as http:
        while time.monotonic() < deadline:
            with suppress(httpx.ConnectError):
                answer = http.get("/api/v1/rules")
                break
    assert answer.json()["rules"][0]["name"] == "default"


def test_a_second_one_on_the_same_folder_names_the_first(start: Start) -> None:
    first = start()
    line = ready(first)
    second = start()
    out, log = end(second)
    assert second.returncode == EXIT_LOCKED
    assert out == ""
    assert f"pid {first.pid}" in log
    with client(line["port"]) as http:
        assert http.get("/health").status_code == 200
    # The lock goes with its holder, however that ends.
    first.kill()
    first.wait(5)
    assert ready(start())["event"] == "ready"


def test_a_port_that_is_taken_is_named(start: Start) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        process = start(SIDECAR_PORT=str(port))
        out, log = end(process)
    assert process.returncode == EXIT_PORT
    assert out == ""
    assert f"127.0.0.1:{port}" in log
    assert "Traceback" not in log


def test_a_bad_configuration_stops_it_before_the_ready_line(start: Start, tmp_path: Path) -> None:
    process = start()
    ready(process)
    process.terminate()
    end(process)
    (tmp_path / "config" / "routing.yaml").write_text("rules: [{name: x}]\n")
    process = start()
    out, log = end(process)
    assert process.returncode not in (0, EXIT_LOCKED, EXIT_PORT)
    assert out == ""
    assert "routing.yaml" in log
    assert "Traceback" not in log


def test_its_token_is_made_where_none_is_given(start: Start, tmp_path: Path) -> None:
    process = start(SIDECAR_TOKEN="")
    port = ready(process)["port"]
    token = (tmp_path / "data" / "token").read_text().strip()
    with client(port) as http:
        assert http.get("/api/v1/rules").status_code == 401
        assert http.get("/api/v1/rules", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    process.terminate()
    out, log = end(process)
    assert token not in out + log


@pytest.mark.parametrize("token", ["a token with spaces in it", "tökentökentökentöken"])
def test_a_token_that_cannot_serve_is_refused(start: Start, token: str) -> None:
    process = start(SIDECAR_TOKEN=token)
    out, log = end(process)
    assert process.returncode not in (0, EXIT_LOCKED, EXIT_PORT)
    assert "SIDECAR_TOKEN" in log
    assert token not in out + log


def test_a_short_token_serves_and_is_worth_a_warning(start: Start) -> None:
    process = start(SIDECAR_TOKEN="chat")
    port = ready(process)["port"]
    with client(port) as http:
        headers = {"Authorization": "Bearer chat"}
        assert http.get("/api/v1/usage?task_type=chatter&group_by=task_type", headers=headers).status_code == 200
        assert http.get("/api/v1/usage?token=chat", headers=headers).status_code == 401
    process.terminate()
    _, log = end(process)
    assert "SIDECAR_TOKEN has 4 characters" in log


def test_what_it_writes_is_its_owners_alone(start: Start, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        process = start(SIDECAR_TOKEN="")
    finally:
        os.umask(before)
    port = ready(process)["port"]
    token = (tmp_path / "data" / "token").read_text("ascii").strip()
    with client(port) as http:
        headers = {"Authorization": f"Bearer {token}"}
        assert http.post("/api/v1/chat", json={"query": "hi"}, headers=headers).status_code == 200
    written = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert any(path.name == "sidecar.db" for path in written)
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in written if path.stat().st_mode & 0o077} == {}
    process.terminate()
    end(process)


def test_a_key_found_later_is_hidden_in_the_log_too(capsys: pytest.CaptureFixture[str]) -> None:
    """One redactor for what is answered and what is logged."""
    root, uvicorn_log = logging.getLogger(), logging.getLogger("uvicorn.error")
    before = root.handlers[:], root.level, uvicorn_log.level
    try:
        redactor = configure_logging("info")

        class Vault:
            def get_password(self, service: str, username: str) -> str | None:
                return "correct-horse-battery-staple"

        assert Secrets({}, lambda: [Vault()], redactor=redactor).get("ODD_API_KEY") == "correct-horse-battery-staple"
        logging.getLogger("app").info("the provider said: correct-horse-battery-staple")
    finally:
        root.handlers[:], root.level = before[:2]
        uvicorn_log.setLevel(before[2])
    written = capsys.readouterr().err
    assert "the provider said: [redacted]" in written
    assert "battery" not in written
