"""The stock configuration does what the source document's tables say (its sections 1, 3, 5, 6 and 7)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from app.config.loader import Config, load
from app.config.pricemap import load_price_map
from app.routing.catalog import ModelCatalog, Source, build_catalog
from app.routing.conditions import check_conditions
from app.routing.facts import RoutingFacts
from app.routing.locality import Location
from app.routing.route import Route, decide
from app.routing.rules import RuleSet

CLAUDE, LLAMA, CODELLAMA = "claude-sonnet-4-5-20250929", "ollama/llama3:8b", "ollama/codellama:13b"
GPT, GEMINI, BUILTIN = "gpt-4o", "gemini/gemini-2.0-flash", "builtin/extractive"


@pytest.fixture(scope="module")
def config() -> Config:
    return load(Path(__file__).parents[2] / "config", [check_conditions])


@pytest.fixture(scope="module")
def catalog(config: Config) -> ModelCatalog:
    return build_catalog(config.models, load_price_map(), {})


@pytest.fixture(scope="module")
def rules(config: Config) -> RuleSet:
    return RuleSet(config.routing.rules)


def routed(config: Config, rules: RuleSet, catalog: ModelCatalog, facts: RoutingFacts) -> Route:
    return decide(
        facts,
        rules,
        catalog,
        local_fallback=config.routing.local_fallback,
        upgrades=config.models.upgrades,
        summarizer=config.models.summarizer,
        timeouts=config.routing.timeouts,
    )


def facts_for(config: Config, task_type: str, workspace: str, code: bool = False, tokens: int = 4_700) -> RoutingFacts:
    profile = config.profile(workspace)
    assert profile is not None
    return RoutingFacts(task_type, workspace, code, profile.block_cloud_apis, tokens)


@pytest.mark.parametrize(
    ("task_type", "workspace", "code", "tokens", "rule", "first"),
    [
        # Section 5, "Rule evaluation".
        ("debugging", "work", True, 4_700, "work_stays_local", CODELLAMA),
        ("debugging", "thesis-research", True, 4_700, "complex_reasoning", CLAUDE),
        # Sections 1 and 7: which task goes where.
        ("refactoring", "personal", True, 4_700, "complex_reasoning", CLAUDE),
        ("architecture", "personal", False, 4_700, "complex_reasoning", CLAUDE),
        ("completion", "personal", True, 300, "code_completion", CODELLAMA),
        ("error_resolution", "personal", True, 4_700, "code_completion", CODELLAMA),
        ("summarization", "personal", False, 4_700, "summaries", LLAMA),
        ("session_capture", "personal", False, 4_700, "summaries", LLAMA),
        ("long_context", "personal", False, 90_000, "long_context", GPT),
        ("long_context", "personal", False, 400_000, "very_long_context", GEMINI),
        ("creative", "personal", False, 300, "creative_and_research", CLAUDE),
        ("research", "personal", False, 300, "creative_and_research", CLAUDE),
        ("chat", "personal", False, 300, "default", LLAMA),
        ("somebodys_own", "personal", False, 300, "default", LLAMA),
        ("chat", "work", False, 300, "work_stays_local", CODELLAMA),
        ("research", "work", False, 300, "work_stays_local", CODELLAMA),
    ],
)
def test_which_model_answers(
    config: Config,
    rules: RuleSet,
    catalog: ModelCatalog,
    task_type: str,
    workspace: str,
    code: bool,
    tokens: int,
    rule: str,
    first: str,
) -> None:
    found = routed(config, rules, catalog, facts_for(config, task_type, workspace, code, tokens))
    assert (found.rule, found.candidates[0].model.id) == (rule, first)
    assert found.candidates[-1].model.id == BUILTIN
    if workspace == "work":
        assert all(c.model.location.is_local for c in found.candidates)
        assert all(spec.location.is_local for spec in found.upgrades)


def test_the_fallback_chain_of_complex_reasoning(config: Config, rules: RuleSet, catalog: ModelCatalog) -> None:
    found = routed(config, rules, catalog, facts_for(config, "debugging", "thesis-research", code=True))
    assert [c.model.id for c in found.candidates] == [CLAUDE, "ollama/llama3:70b", LLAMA, BUILTIN]


@pytest.mark.parametrize(
    ("model", "window", "location"),
    [
        (LLAMA, 8_192, Location.LOOPBACK),
        (CODELLAMA, 16_384, Location.LOOPBACK),
        ("ollama/llama3:70b", 8_192, Location.LOOPBACK),
        (CLAUDE, 200_000, Location.CLOUD),
        (GPT, 128_000, Location.CLOUD),
        (GEMINI, 1_048_576, Location.CLOUD),
    ],
)
def test_the_six_windows(catalog: ModelCatalog, model: str, window: int, location: Location) -> None:
    spec = catalog.get(model)
    assert spec is not None
    assert (spec.context_window.value, spec.location) == (window, location)
    assert spec.context_window.source is not Source.DEFAULT
    assert spec.warnings == ()


@pytest.mark.parametrize(
    ("model", "per_input", "per_output"), [(CLAUDE, "3", "15"), (GPT, "2.5", "10"), (LLAMA, "0", "0")]
)
def test_the_price_table(catalog: ModelCatalog, model: str, per_input: str, per_output: str) -> None:
    price = catalog.resolve(model).price.value
    assert price is not None
    assert (price.input, price.output) == (Decimal(per_input), Decimal(per_output))


def test_upgrades_of_section_4_stay_local_in_a_private_workspace(
    config: Config, rules: RuleSet, catalog: ModelCatalog
) -> None:
    private = routed(config, rules, catalog, facts_for(config, "chat", "work"))
    free = routed(config, rules, catalog, facts_for(config, "chat", "personal"))
    assert [spec.id for spec in free.upgrades] == ["ollama/llama3:8b-32k", CLAUDE]
    assert [spec.id for spec in private.upgrades] == ["ollama/llama3:8b-32k"]
