"""The command line as people run it: a process of its own, against a scripted sidecar on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.command_line import ROOT, environment_in, free_port, run
from tests.fakes.scripted_sidecar import CONTEXT, ROUTE, Script, scripted_sidecar
from tests.fakes.sidecar import TOKEN


@pytest.fixture
def sidecar() -> Iterator[Script]:
    with scripted_sidecar() as script:
        yield script


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return environment_in(tmp_path)


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
