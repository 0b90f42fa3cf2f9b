"""The four files as the contract prints them load as they stand, and do what it says of them."""

from __future__ import annotations

from pathlib import Path

from app.agents.cron import check_schedules
from app.config.loader import load
from app.routing.conditions import check_conditions

FILES = {
    "models": """
providers:
  ollama: {api_base: "http://127.0.0.1:11434"}
trusted_hosts: []              # hosts on your own network that may see private workspaces
models:
  - {id: "ollama/llama3:8b", context_window: 8192, max_output_tokens: 2048, tokenizer: llama3}
  - {id: "ollama/codellama:13b", context_window: 16384, tokenizer: llama2}
  - {id: "claude-sonnet-4-5-20250929", context_window: 200000, tokenizer: claude}
  - {id: "builtin/extractive", context_window: 1048576}
upgrades: ["ollama/llama3:8b-32k", "claude-sonnet-4-5-20250929"]   # tried in this order when a window is too small
summarizer: "ollama/llama3:8b"
""",
    "routing": """
retry: {backoff_seconds: [1, 5, 15], max_total_seconds: 120}
timeouts: {first_token_seconds: 60, idle_seconds: 60, total_seconds: 600}
local_fallback: "ollama/llama3:8b"       # used when the policy has emptied a route
rules:
  - name: work_stays_local
    conditions: {workspace: work}
    model: "ollama/codellama:13b"
    fallback: ["ollama/llama3:8b", "builtin/extractive"]
  - name: complex_reasoning
    conditions: {task_type: [debugging, refactoring, architecture]}
    model: "claude-sonnet-4-5-20250929"
    fallback: ["ollama/llama3:70b", "ollama/llama3:8b"]
  - name: default
    conditions: {}
    model: "ollama/llama3:8b"
    fallback: "builtin/extractive"
""",
    "profiles": """
default_workspace: personal
profiles:
  - {id: work, name: Work, block_cloud_apis: true}
  - id: thesis-research
    name: Thesis
    block_cloud_apis: false
    budgets:
      - {period: week, limit_usd: 15.0, alert_at: [0.5, 0.8, 1.0], on_limit: local_only}   # or: alert, block
""",
    "agents": """
agents:
  - {name: digest, schedule: "0 18 * * 1-5", timezone: Europe/Berlin, workspace: personal, enabled: true}
""",
}


def test_they_load(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / f"{name}.yaml").write_text(text, "utf-8")
    config = load(tmp_path, [check_conditions, check_schedules])
    assert config.default_profile.id == "personal"
    assert config.profile("work").block_cloud_apis  # type: ignore[union-attr]
    assert not config.profile("thesis-research").block_cloud_apis  # type: ignore[union-attr]
    assert [agent.workspace for agent in config.agents.agents] == ["personal"]


def test_models_and_rules_are_enough(tmp_path: Path) -> None:
    for name in ("models", "routing"):
        (tmp_path / f"{name}.yaml").write_text(FILES[name], "utf-8")
    assert load(tmp_path, [check_conditions]).default_profile.id == "default"


def test_a_rule_as_the_source_document_prints_it(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(FILES["models"], "utf-8")
    rule = '- name: "complex_reasoning"\n  model: "claude-sonnet-4-5-20250929"\n  fallback: "ollama/llama3:70b"\n'
    (tmp_path / "routing.yaml").write_text(f"rules:\n{rule}", "utf-8")
    (found,) = load(tmp_path, [check_conditions]).routing.rules
    assert (found.conditions, found.fallback) == ({}, ("ollama/llama3:70b",))
