"""The shipped files load without a problem and say what the source document's tables say."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from app.config.loader import FILES, Config, load
from app.config.pricemap import load_price_map
from app.config.schema import Rule
from app.config.stock import ensure_user_config, stock_dir
from tests.unit.config_problems import problems_of

CLAUDE, GPT, GEMINI = "claude-sonnet-4-5-20250929", "gpt-4o", "gemini/gemini-2.0-flash"
LLAMA, LLAMA_70, CODELLAMA, LAST = "ollama/llama3:8b", "ollama/llama3:70b", "ollama/codellama:13b", "builtin/extractive"


@pytest.fixture(scope="module")
def stock() -> Config:
    return load(stock_dir())


def rule_of(stock: Config, task_type: str) -> Rule:
    """The first rule that asks for this task type alone."""
    for rule in stock.routing.rules:
        wanted = rule.conditions.get("task_type", ())
        if task_type in ([wanted] if isinstance(wanted, str) else wanted) and len(rule.conditions) == 1:
            return rule
    raise AssertionError(task_type)


def test_no_problem_and_no_warning(stock: Config) -> None:
    assert problems_of(stock_dir()) == []
    assert stock.files == FILES
    assert stock.warnings == ()


@pytest.mark.parametrize(
    ("model", "window"),
    [(LLAMA, 8_192), (CODELLAMA, 16_384), (LLAMA_70, 8_192), (CLAUDE, 200_000), (GPT, 128_000), (GEMINI, 1_048_576)],
)
def test_windows_of_section_3(stock: Config, model: str, window: int) -> None:
    (entry,) = [m for m in stock.models.models if m.id == model]
    assert entry.context_window == window


@pytest.mark.parametrize(("model", "prices"), [(CLAUDE, ("3", "15")), (GPT, ("2.5", "10"))])
def test_prices_of_section_6_come_from_the_bundled_map(stock: Config, model: str, prices: tuple[str, str]) -> None:
    (entry,) = [m for m in stock.models.models if m.id == model]
    assert entry.input_cost_per_million is None, "not overridden"
    bundled = load_price_map()[model]
    found = [Decimal(str(bundled[k])) * 1_000_000 for k in ("input_cost_per_token", "output_cost_per_token")]
    assert found == [Decimal(p) for p in prices]


def test_gemini_flash_is_priced_here_because_the_map_lacks_it(stock: Config) -> None:
    (entry,) = [m for m in stock.models.models if m.id == GEMINI]
    assert (entry.input_cost_per_million, entry.output_cost_per_million) == (0.10, 0.40)
    assert GEMINI not in load_price_map()


@pytest.mark.parametrize(
    ("task_type", "chain"),
    [
        ("completion", (CODELLAMA, LLAMA, LAST)),
        ("error_resolution", (CODELLAMA, LLAMA, LAST)),
        ("summarization", (LLAMA, LAST)),
        ("session_capture", (LLAMA, LAST)),
        ("entity_extraction", (LLAMA, LAST)),
        ("debugging", (CLAUDE, LLAMA_70, LLAMA, LAST)),
        ("refactoring", (CLAUDE, LLAMA_70, LLAMA, LAST)),
        ("architecture", (CLAUDE, LLAMA_70, LLAMA, LAST)),
        ("long_context", (GPT, GEMINI, "ollama/llama3:8b-32k", LLAMA, LAST)),
        ("creative", (CLAUDE, GPT, LLAMA, LAST)),
        ("research", (CLAUDE, GPT, LLAMA, LAST)),
    ],
)
def test_models_of_sections_1_5_and_7(stock: Config, task_type: str, chain: tuple[str, ...]) -> None:
    rule = rule_of(stock, task_type)
    assert (rule.model, *rule.fallback) == chain


def test_the_private_workspace_comes_first_and_stays_local(stock: Config) -> None:
    first = stock.routing.rules[0]
    assert (first.name, first.conditions, first.model) == ("work_stays_local", {"workspace": "work"}, CODELLAMA)
    second = stock.routing.rules[1]
    assert (second.conditions, second.model) == ({"contains_code": True, "block_cloud_apis": True}, CODELLAMA)
    work = stock.profile("work")
    assert work is not None
    assert work.block_cloud_apis
    for rule in (first, second):
        assert all(m.startswith(("ollama/", "builtin/")) for m in (rule.model, *rule.fallback))


def test_every_chain_ends_in_the_model_that_is_always_there(stock: Config) -> None:
    assert {rule.fallback[-1] for rule in stock.routing.rules} == {LAST}
    assert stock.routing.rules[-1].conditions == {}
    assert stock.routing.rules[-1].model == stock.routing.local_fallback == stock.models.summarizer == LLAMA


def test_retries_upgrades_and_profiles(stock: Config) -> None:
    assert list(stock.routing.retry.backoff_seconds) == [1, 5, 15]
    assert stock.models.upgrades == ("ollama/llama3:8b-32k", CLAUDE)
    assert stock.default_profile.id == "personal"
    thesis = stock.profile("thesis-research")
    assert thesis is not None
    assert not thesis.block_cloud_apis
    assert [(b.period, b.limit_usd, b.on_limit) for b in thesis.budgets] == [("week", 15.0, "local_only")]


def test_first_start_copies_and_later_ones_leave_alone(tmp_path: Path) -> None:
    user = tmp_path / "new" / "llm-sidecar"
    assert ensure_user_config(None, user) == user
    assert problems_of(user) == []
    (user / "models.yaml").write_text("mine")
    (user / "agents.yaml").unlink()
    ensure_user_config(None, user)
    assert (user / "models.yaml").read_text() == "mine"
    assert not (user / "agents.yaml").exists(), "removed on purpose"


def test_a_copy_cut_short_is_completed(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text("profiles: [{id: secret, block_cloud_apis: true}]")
    ensure_user_config(None, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(FILES)
    assert "secret" in (tmp_path / "profiles.yaml").read_text()


def test_a_folder_that_was_named_is_used_as_it_is(tmp_path: Path) -> None:
    named = tmp_path / "named"
    assert ensure_user_config(named, tmp_path / "user") == named
    assert list(tmp_path.iterdir()) == []
