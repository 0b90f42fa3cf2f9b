"""`llm-sidecar chat`, a process of its own, against a scripted sidecar on loopback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.command_line import ROOT, environment_in, run
from tests.fakes.scripted_sidecar import ANSWER, CONTEXT, DONE, ROUTE, Script, events, scripted_sidecar
from tests.fakes.sidecar import TOKEN

PROBLEM = {"status": 403, "detail": "work is private", "code": "no_permitted_model", "request_id": "r1"}


@pytest.fixture
def sidecar() -> Iterator[Script]:
    with scripted_sidecar() as script:
        yield script


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return environment_in(tmp_path)


def test_chat_streams_the_answer_to_stdout_and_the_rest_to_stderr(sidecar: Script, environment: dict[str, str]) -> None:
    sidecar.streams(ANSWER)
    done = run(["chat", "hello", "there", "-w", "work", "--context"], environment, sidecar)
    assert (done.returncode, done.stdout) == (0, "Hallo\n")
    assert sidecar.asked == [("POST", "/api/v1/chat", {"query": "hello there", "workspace": "work"})]
    assert sidecar.tokens == [f"Bearer {TOKEN}"]
    assert "rule default -> ollama/llama3:8b (loopback)" in done.stderr
    assert "1,200 + 3 tokens, cost unknown, 1.2 s, first token 80 ms" in done.stderr
    assert "the price is unknown" in done.stderr
    assert "chunk-3         3       0  dropped  no room" in done.stderr
    assert "\x1b" not in done.stderr


def test_chat_json_is_one_event_a_line(sidecar: Script, environment: dict[str, str]) -> None:
    sidecar.streams(ANSWER)
    done = run(["chat", "hello", "--json"], environment, sidecar)
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["event"] for e in printed] == ["route", "context", "token", "token", "done"]
    assert printed[2] == {"event": "token", "id": "3", "data": {"text": "Hal"}}


def test_chat_reads_a_pipe_and_a_file(sidecar: Script, environment: dict[str, str], tmp_path: Path) -> None:
    sidecar.streams(ANSWER)
    file = tmp_path / "x.py"
    file.write_text("a = 1\nb = 2\n")
    done = run(["chat", "-", "--file", f"{file}:2", "-t", "debugging"], environment, sidecar, stdin="why?\n")
    assert done.returncode == 0
    assert sidecar.asked[0][2] == {
        "query": "why?\n",
        "task_type": "debugging",
        "context": {"file": {"path": str(file), "text": "a = 1\nb = 2\n", "line": 2}},
    }


def test_chat_without_streaming(sidecar: Script, environment: dict[str, str]) -> None:
    sidecar.answers({"text": "Hallo", "route": ROUTE, "context": CONTEXT, "attempts": [], **DONE})
    done = run(["chat", "hello", "--no-stream"], environment, sidecar)
    assert (done.returncode, done.stdout) == (0, "Hallo\n")
    assert sidecar.asked[0][2]["stream"] is False
    assert "first token 80 ms" in done.stderr


def test_an_error_event_fails_and_says_what_was_delivered(sidecar: Script, environment: dict[str, str]) -> None:
    broken = {"status": 502, "detail": "the connection broke", "code": "stream_interrupted", "delivered_characters": 3}
    sidecar.streams(events(("route", ROUTE), ("token", {"text": "Hal"}), ("error", broken)))
    done = run(["chat", "hello"], environment, sidecar)
    assert (done.returncode, done.stdout) == (1, "Hal\n")
    assert "the connection broke (stream_interrupted); the answer above is cut after 3 characters" in done.stderr
    assert run(["chat", "hello", "--json"], environment, sidecar).returncode == 1


def test_a_stream_without_its_end_is_no_success(sidecar: Script, environment: dict[str, str]) -> None:
    sidecar.streams(events(("route", ROUTE), ("token", {"text": "Hal"})))
    done = run(["chat", "hello"], environment, sidecar)
    assert done.returncode == 1
    assert "ended before the answer did" in done.stderr


def test_a_refusal_shows_detail_and_code(sidecar: Script, environment: dict[str, str]) -> None:
    sidecar.answers(PROBLEM, 403)
    done = run(["chat", "hello", "-m", "gpt-4o"], environment, sidecar)
    assert done.returncode == 1
    assert done.stderr == "llm-sidecar: work is private (no_permitted_model)\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_ctrl_c_closes_the_connection(sidecar: Script, environment: dict[str, str]) -> None:
    sidecar.streams(events(("route", ROUTE), ("token", {"text": "Hal"})), hold=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "chat", "hello"],
        env=environment | {"SIDECAR_PORT": str(sidecar.port)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read(3) == b"Hal"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"cancelled" in errors
    assert b"Traceback" not in errors
    assert sidecar.gone.wait(2)
