"""decide(): the chain, what is removed and why, and that nothing private leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.config.pricemap import load_price_map
from app.config.schema import ModelsFile, Rule, TimeoutOverrides, Timeouts
from app.errors import NoPermittedModel, NoRule, RequestError, UnknownModel
from app.routing.catalog import ModelCatalog, build_catalog
from app.routing.facts import RoutingFacts, RuleVerdict
from app.routing.locality import Location
from app.routing.route import Origin, Route, decide
from app.routing.rules import RuleSet

CLAUDE, LOCAL, BUILTIN = "claude-sonnet-4-5-20250929", "ollama/llama3:8b", "builtin/extractive"
FACTS = RoutingFacts("chat", "home", contains_code=False, block_cloud_apis=False, input_tokens=10)
PRIVATE = replace(FACTS, block_cloud_apis=True)
TIMEOUTS = Timeouts()


def catalog_of(*entries: dict[str, Any], env: dict[str, str] | None = None, **file: Any) -> ModelCatalog:
    return build_catalog(ModelsFile.model_validate({"models": list(entries), **file}), load_price_map(), env or {})


CATALOG = catalog_of(
    {"id": CLAUDE},
    {"id": LOCAL, "supports": ["tools", "response_format"]},
    {"id": "ollama/llama3:8b-32k", "context_window": 32_768},
)


def rules(model: str = CLAUDE, *fallback: str, **more: Any) -> RuleSet:
    return RuleSet([Rule(name="only", conditions={}, model=model, fallback=fallback, **more)])


def route(facts: RoutingFacts = FACTS, rule_set: RuleSet | None = None, **more: Any) -> Route:
    return decide(facts, rule_set or rules(CLAUDE, LOCAL, BUILTIN), CATALOG, timeouts=TIMEOUTS, **more)


def chain(found: Route) -> list[tuple[str, Origin]]:
    return [(c.model.id, c.origin) for c in found.candidates]


def gone(found: Route) -> list[tuple[str, Origin, str]]:
    return [(r.model, r.origin, r.code) for r in found.removed]


class TestChain:
    def test_model_then_fallbacks(self) -> None:
        found = route()
        assert chain(found) == [(CLAUDE, Origin.RULE), (LOCAL, Origin.FALLBACK), (BUILTIN, Origin.FALLBACK)]
        assert found.removed == ()
        assert not found.local_only
        assert found.verdicts == (RuleVerdict("only", True),)
        assert found.reasons == ("rule `only` matched",)

    def test_a_wish_goes_in_front_and_duplicates_collapse(self) -> None:
        found = route(rule_set=rules(CLAUDE, LOCAL, CLAUDE, LOCAL), wish=LOCAL)
        assert chain(found) == [(LOCAL, Origin.REQUEST), (CLAUDE, Origin.RULE)]
        assert "because the request asked for it" in found.reasons[1]

    def test_an_unknown_wish(self) -> None:
        with pytest.raises(UnknownModel, match="did you mean ollama/llama3:8b"):
            route(wish="ollma/llama3:8b")

    def test_a_wish_that_cannot_be_asked(self) -> None:
        with pytest.raises(UnknownModel, match="logs in"):
            route(wish="bedrock/x")

    def test_a_wish_does_not_replace_a_rule(self) -> None:
        only_work = RuleSet([Rule(name="w", conditions={"workspace": "work"}, model=LOCAL)])
        with pytest.raises(NoRule) as caught:
            route(rule_set=only_work, wish=LOCAL)
        assert caught.value.extra["verdicts"] == [{"rule": "w", "failed": "workspace is 'home', needs 'work'"}]

    def test_an_unresolvable_fallback_is_left_out(self) -> None:
        found = route(rule_set=rules("nobody-knows", LOCAL))
        assert chain(found) == [(LOCAL, Origin.FALLBACK)]
        assert gone(found) == [("nobody-knows", Origin.RULE, "unknown_model")]

    def test_nothing_known_is_left(self) -> None:
        with pytest.raises(UnknownModel, match="rule `only` names no model that can be asked"):
            route(rule_set=rules("nobody-knows", "bedrock/x"), local_fallback=LOCAL)

    def test_all_verdicts(self) -> None:
        two = RuleSet([*[r.rule for r in rules(LOCAL).rules], Rule(name="later", conditions={"hour": 3}, model=LOCAL)])
        found = route(rule_set=two, all_verdicts=True)
        assert found.verdicts == (RuleVerdict("only", True), RuleVerdict("later", False, "hour is 0, needs 3"))

    def test_the_rule_sets_parameters_and_timeouts(self) -> None:
        own = rules(
            LOCAL, params={"top_p": 0.5}, max_output_tokens=9, timeouts=TimeoutOverrides(idle_seconds=7)
        )  # fmt: skip
        found = decide(FACTS, own, CATALOG, timeouts=Timeouts(first_token_seconds=5, idle_seconds=6, total_seconds=8))
        assert (found.params, found.max_output_tokens) == ({"top_p": 0.5}, 9)
        assert (found.first_token_seconds, found.idle_seconds, found.total_seconds) == (5, 7, 8)


class TestPolicy:
    @pytest.mark.parametrize("facts", [PRIVATE, replace(FACTS, session_private=True)])
    def test_the_cloud_is_removed_before_the_chain_exists(self, facts: RoutingFacts) -> None:
        found = route(facts)
        assert chain(found) == [(LOCAL, Origin.FALLBACK), (BUILTIN, Origin.FALLBACK)]
        assert gone(found) == [(CLAUDE, Origin.RULE, "policy")]
        assert found.local_only
        assert any(CLAUDE in reason and "cloud" in reason for reason in found.reasons)

    def test_upgrades_and_the_summariser_too(self) -> None:
        asked: dict[str, Any] = {"upgrades": (CLAUDE, "ollama/llama3:8b-32k", CLAUDE), "summarizer": CLAUDE}
        found = route(PRIVATE, **asked)
        assert [spec.id for spec in found.upgrades] == ["ollama/llama3:8b-32k"]
        assert found.summarizer is None
        assert gone(found)[1:] == [(CLAUDE, Origin.UPGRADE, "policy"), (CLAUDE, Origin.SUMMARIZER, "policy")]
        free = route(FACTS, **asked)
        assert [spec.id for spec in free.upgrades] == [CLAUDE, "ollama/llama3:8b-32k"]
        assert free.summarizer is not None

    def test_a_forbidden_wish(self) -> None:
        with pytest.raises(NoPermittedModel, match="cloud model") as caught:
            route(PRIVATE, wish=CLAUDE)
        assert caught.value.extra["model"] == CLAUDE

    def test_the_local_fallback_steps_in(self) -> None:
        found = route(PRIVATE, rules(CLAUDE, "gpt-4o"), local_fallback=LOCAL)
        assert chain(found) == [(LOCAL, Origin.LOCAL_FALLBACK)]
        assert found.reasons[-1] == f"{LOCAL} steps in as the local fallback"

    def test_not_where_something_is_left_or_the_policy_took_nothing(self) -> None:
        assert chain(route(PRIVATE, rules(CLAUDE, BUILTIN), local_fallback=LOCAL)) == [(BUILTIN, Origin.FALLBACK)]
        needs_images = replace(FACTS, has_images=True)
        with pytest.raises(NoPermittedModel, match="can do what the request needs"):
            route(needs_images, rules(BUILTIN), local_fallback="ollama/llava")

    @pytest.mark.parametrize("fallback", [None, "gpt-4o", CLAUDE, "nobody-knows", "ollama/gpt-oss:120b-cloud"])
    def test_nothing_left_is_a_refusal_with_what_was_removed(self, fallback: str | None) -> None:
        with pytest.raises(NoPermittedModel, match="local_fallback") as caught:
            route(PRIVATE, rules(CLAUDE), local_fallback=fallback)
        removed = caught.value.extra["removed"]
        assert isinstance(removed, list)
        assert removed[0]["model"] == CLAUDE
        assert removed[0]["code"] == "policy"

    def test_a_moved_endpoint_is_what_counts(self) -> None:
        moved = catalog_of({"id": LOCAL}, env={"OLLAMA_HOST": "https://ollama.example.com"})
        with pytest.raises(NoPermittedModel):
            decide(PRIVATE, rules(LOCAL), moved, wish=None, local_fallback=LOCAL, timeouts=TIMEOUTS)
        here = catalog_of({"id": "openai/local", "api_base": "http://127.0.0.1:8000/v1"})
        found = decide(PRIVATE, rules("openai/local"), here, timeouts=TIMEOUTS)
        assert found.candidates[0].model.location is Location.LOOPBACK


class TestCapabilities:
    def test_who_cannot_is_left_out(self) -> None:
        found = route(replace(FACTS, has_images=True), upgrades=(LOCAL,), summarizer=LOCAL)
        assert chain(found) == [(CLAUDE, Origin.RULE)]
        assert gone(found) == [
            (LOCAL, Origin.FALLBACK, "capability"),
            (BUILTIN, Origin.FALLBACK, "capability"),
            (LOCAL, Origin.UPGRADE, "capability"),
        ]
        assert found.summarizer is not None  # a summary needs no images

    def test_a_wish_that_cannot_is_left_out_too(self) -> None:
        found = route(replace(FACTS, has_images=True), wish=LOCAL)
        assert chain(found) == [(CLAUDE, Origin.RULE)]

    def test_the_local_fallback_must_be_able_too(self) -> None:
        with pytest.raises(NoPermittedModel, match="needs images"):
            route(replace(PRIVATE, has_images=True), rules(CLAUDE), local_fallback=LOCAL)


model_ids = st.sampled_from(
    [CLAUDE, LOCAL, BUILTIN, "gpt-4o", "openai/x", "gemini/g", "ollama/a", "ollama/gpt-oss:120b-cloud", "hosted_vllm/v",
     "bedrock/b", "nobody-knows", "groq/z", "embedded/e", "lm_studio/m"]
)  # fmt: skip
bases = st.none() | st.sampled_from(
    ["http://127.0.0.1:11434", "http://localhost:1/v1", "http://192.168.1.20:8000/v1", "http://0.0.0.0:1",
     "https://api.openai.com/v1", "http://127.0.0.1.nip.io", "http://2130706433", "http://[::ffff:127.0.0.1]"]
)  # fmt: skip
conditions = st.sampled_from([{}, {"block_cloud_apis": True}, {"has_tools": False}, {"hour": 3}, {"task_type": "chat"}])
rule_lists = st.lists(st.tuples(conditions, model_ids, st.lists(model_ids, max_size=3)), min_size=1, max_size=4)
catalogs = st.dictionaries(
    model_ids.filter(lambda i: i != "nobody-knows"),
    st.tuples(bases, st.sampled_from([None, "in_process", "loopback", "trusted", "cloud"])),
    max_size=6,
)
ENVIRONMENTS = st.sampled_from([{}, {"OLLAMA_HOST": "https://x.example"}, {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}])
# Written down apart from the code: what is certainly on this machine, or listed as trusted.
LOCAL_BASES = {
    None, "http://127.0.0.1:11434", "http://localhost:1/v1", "http://192.168.1.20:8000/v1", "http://127.0.0.1:1234/v1",
    "http://127.0.0.1:9/v1",
}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    listed=catalogs,
    ruled=rule_lists,
    env=ENVIRONMENTS,
    wish=st.none() | model_ids,
    fallback=st.none() | model_ids,
    upgrades=st.lists(model_ids, max_size=4),
    summarizer=st.none() | model_ids,
    session_private=st.booleans(),
    has_tools=st.booleans(),
)
def test_nothing_private_ever_gets_a_cloud_model(
    listed: dict[str, tuple[str | None, str | None]],
    ruled: list[tuple[dict[str, Any], str, list[str]]],
    env: dict[str, str],
    wish: str | None,
    fallback: str | None,
    upgrades: list[str],
    summarizer: str | None,
    session_private: bool,
    has_tools: bool,
) -> None:
    entries = [
        {"id": i, **({"api_base": base} if base else {}), **({"location": where} if where else {})}
        for i, (base, where) in listed.items()
    ]
    models = ModelsFile.model_validate({"models": entries, "trusted_hosts": ["192.168.1.20"]})
    catalog = build_catalog(models, SMALL_MAP, env)
    rule_set = RuleSet(
        Rule(name=f"r{n}", conditions=c, model=m, fallback=tuple(f)) for n, (c, m, f) in enumerate(ruled)
    )
    facts = replace(FACTS, block_cloud_apis=not session_private, session_private=session_private, has_tools=has_tools)

    def once() -> Route | str:
        try:
            return decide(
                facts,
                rule_set,
                catalog,
                wish=wish,
                local_fallback=fallback,
                upgrades=upgrades,
                summarizer=summarizer,
                timeouts=TIMEOUTS,
            )
        except RequestError as error:
            return f"{type(error).__name__}: {error.detail}"

    found = once()
    assert once() == found
    if isinstance(found, str):
        return
    used = [*(c.model for c in found.candidates), *found.upgrades, *([found.summarizer] if found.summarizer else [])]
    assert found.candidates
    for spec in used:
        assert spec.location is not Location.CLOUD
        assert spec.endpoint.api_base in LOCAL_BASES
        assert spec.provider in ("builtin", "embedded") or spec.endpoint.api_base is not None
        assert not spec.name.endswith("-cloud")
        assert listed.get(spec.id, (None, None))[1] != "cloud"
        assert not (has_tools and "tools" in spec.lacks) or spec is found.summarizer
    assert len({c.model.id for c in found.candidates}) == len(found.candidates)


SMALL_MAP = {
    name: load_price_map()[name] for name in (CLAUDE, "gpt-4o", LOCAL, "ollama/gpt-oss:120b-cloud")
}  # a map of four entries: 4,000 would be gone through once per example
