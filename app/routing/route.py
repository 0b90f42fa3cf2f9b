"""decide(...): from a request's facts to an ordered list of permitted candidates, with the reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.config.schema import TimeoutOverrides, Timeouts
from app.errors import NoPermittedModel, NoRule, RequestError, UnknownModel
from app.routing.catalog import ModelCatalog, ModelSpec
from app.routing.facts import RoutingFacts, RuleVerdict
from app.routing.policy import missing_capability, permitted
from app.routing.rules import CompiledRule, RuleSet

__all__ = ["Candidate", "Origin", "Removed", "Route", "RoutingFacts", "RuleVerdict", "decide"]


class Origin(StrEnum):
    """Why a candidate is in the chain."""

    REQUEST = "request"
    RULE = "rule"
    FALLBACK = "fallback"
    LOCAL_FALLBACK = "local_fallback"
    UPGRADE = "upgrade"
    SUMMARIZER = "summarizer"
    """Only of what was removed: the summariser is no candidate."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model the route may use."""

    model: ModelSpec
    origin: Origin


@dataclass(frozen=True, slots=True)
class Removed:
    """A model that would have been a candidate. `code`: policy, capability, unknown_model, unusable; budget, where
    one forbids what the call would cost; of an upgrade also resting and failed."""

    model: str
    origin: Origin
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Route:
    """The decision. `candidates` is never empty; every one is permitted by the policy."""

    rule: str
    candidates: tuple[Candidate, ...]
    upgrades: tuple[ModelSpec, ...]
    """Permitted models with larger windows, in the configured order."""
    summarizer: ModelSpec | None
    removed: tuple[Removed, ...]
    verdicts: tuple[RuleVerdict, ...]
    """Every rule's, in order, with `decide(all_verdicts=True)`; else the matching rule's alone."""
    reasons: tuple[str, ...]
    """Sentences for people: which rule, what the policy did."""
    local_only: bool
    params: Mapping[str, Any] = field(default_factory=dict)
    max_output_tokens: int | None = None
    first_token_seconds: float = 60.0
    idle_seconds: float = 60.0
    total_seconds: float = 600.0


def decide(
    facts: RoutingFacts,
    rules: RuleSet,
    catalog: ModelCatalog,
    *,
    wish: str | None = None,
    rule: str | None = None,
    local_fallback: str | None = None,
    upgrades: Sequence[str] = (),
    summarizer: str | None = None,
    timeouts: Timeouts,
    all_verdicts: bool = False,
) -> Route:
    """The route of a request: the wish, the first matching rule's model, its fallbacks, less what may not be used.

    `rule`: this rule decides, whatever its conditions; the policy binds it like any other.

    The policy removes before a chain exists: nothing in a `Route` is forbidden, upgrades and the summariser included.
    `local_fallback` steps in where the policy has emptied the chain. The same arguments always give an equal route,
    so it may be kept under them.

    Raises `NoRule`, also for a `rule` there is not; `UnknownModel` for a wish nobody knows; `NoPermittedModel` where
    the policy forbids the wish, or nothing is left (`extra["removed"]` says what was removed and why).
    """
    match = rules.first_match(facts, all_verdicts) if rule is None else rules.named(rule, facts, all_verdicts)
    if match.rule is None:
        raise _no_rule(rules, facts) if rule is None else NoRule(f"routing.yaml has no rule `{rule}`", field="rule")
    sieve = _Sieve(facts, catalog)
    if wish is not None:
        sieve.wish(wish)
    sieve.add(match.rule.chain[0], Origin.RULE)
    for model_id in match.rule.chain[1:]:
        sieve.add(model_id, Origin.FALLBACK)
    if not sieve.candidates:
        sieve.fall_back(local_fallback, match.rule.name)
    larger = tuple(spec for model_id in dict.fromkeys(upgrades) if (spec := sieve.take(model_id, Origin.UPGRADE)))
    summariser = sieve.take(summarizer, Origin.SUMMARIZER) if summarizer else None
    chosen = f"rule `{match.rule.name}` " + ("matched" if rule is None else "was asked for by name")
    return _route(match.rule, match.verdicts, sieve, larger, summariser, timeouts, chosen)


def _no_rule(rules: RuleSet, facts: RoutingFacts) -> NoRule:
    verdicts = [{"rule": v.rule, "failed": v.failed} for v in rules.verdicts(facts)[:_SHOWN_VERDICTS]]
    return NoRule(
        "no rule of routing.yaml matches this request; a last rule with empty conditions catches everything",
        verdicts=verdicts,
    )


_SHOWN_VERDICTS = 50


class _Sieve:
    """Takes model ids in order and keeps what this request may use, and why it may not use the rest."""

    def __init__(self, facts: RoutingFacts, catalog: ModelCatalog) -> None:
        self.facts = facts
        self.local_only = facts.local_only
        self.candidates: list[Candidate] = []
        self.removed: list[Removed] = []
        self._catalog = catalog
        self._seen: set[str] = set()

    def take(self, model_id: str, origin: Origin) -> ModelSpec | None:
        """The model, if it is known, usable, permitted and able; else None, and `removed` says why."""
        try:
            spec = self._catalog.resolve(model_id)
        except UnknownModel as error:
            self.removed.append(Removed(model_id, origin, "unknown_model", error.detail))
            return None
        objection = self._objection(spec, origin)
        if objection is not None:
            self.removed.append(Removed(model_id, origin, *objection))
            return None
        return spec

    def _objection(self, spec: ModelSpec, origin: Origin) -> tuple[str, str] | None:
        """(code, reason) why the model may not be used, or None."""
        verdict = permitted(spec, self.local_only)
        if not verdict.allowed:
            return "policy", verdict.reason
        if spec.unusable is not None:
            return "unusable", f"{spec.id} cannot be asked: {spec.unusable}"
        # A summary needs none of what the request needs: it is text from text.
        lacking = missing_capability(spec, self.facts) if origin is not Origin.SUMMARIZER else None
        return ("capability", lacking) if lacking is not None else None

    def add(self, model_id: str, origin: Origin) -> None:
        """Append the model to the chain where it may be used; the first mention of a model counts."""
        if model_id in self._seen:
            return
        self._seen.add(model_id)
        spec = self.take(model_id, origin)
        if spec is not None:
            self.candidates.append(Candidate(spec, origin))

    def wish(self, model_id: str) -> None:
        """Put the request's own model in front. Raises where it is unknown, unusable or forbidden; one that only lacks
        a capability is left out like any other."""
        self.add(model_id, Origin.REQUEST)
        refused = self.removed[0] if self.removed else None
        if refused is None or refused.code == "capability":
            return
        if refused.code == "policy":
            raise NoPermittedModel(refused.reason, model=model_id, removed=_shown(self.removed))
        raise UnknownModel(refused.reason, field="model")

    def fall_back(self, local_fallback: str | None, rule: str) -> None:
        """Let `local_fallback` step in for what the policy removed. Raises `RequestError` where nothing is left."""
        by_policy = any(r.code == "policy" for r in self.removed)
        if by_policy and local_fallback is not None:
            self.add(local_fallback, Origin.LOCAL_FALLBACK)
        if not self.candidates:
            raise self._nothing_left(rule, by_policy)

    def _nothing_left(self, rule: str, by_policy: bool) -> RequestError:
        removed = _shown(self.removed)
        because = "; ".join(dict.fromkeys(r.reason for r in self.removed))
        codes = {r.code for r in self.removed}
        if codes == {"capability"}:
            what = f"no model of rule `{rule}` can do what the request needs: {because}"
        elif by_policy:
            what = (
                f"the policy leaves no model of rule `{rule}`: {because}; "
                "name a local model as a fallback, or as local_fallback in routing.yaml"
            )
        elif codes <= {"unknown_model", "unusable"}:
            return UnknownModel(f"rule `{rule}` names no model that can be asked: {because}", removed=removed)
        else:
            what = f"rule `{rule}` leaves no model for this request: {because}"
        return NoPermittedModel(what, removed=removed)

    def reasons(self, chosen: str) -> tuple[str, ...]:
        """The decision in sentences; `chosen` is the first."""
        told = [chosen]
        if self.candidates[0].origin is Origin.REQUEST:
            told.append(f"{self.candidates[0].model.id} comes first because the request asked for it")
        if self.local_only:
            told.append(_why_local(self.facts))
        told += [f"{r.model} was left out: {r.reason}" for r in self.removed]
        if self.candidates[0].origin is Origin.LOCAL_FALLBACK:
            told.append(f"{self.candidates[0].model.id} steps in as the local fallback")
        return tuple(dict.fromkeys(told))  # a model may be left out of the rule and of the upgrades


def _why_local(facts: RoutingFacts) -> str:
    if facts.block_cloud_apis:
        return f"workspace `{facts.workspace}` keeps everything on this machine and its trusted hosts"
    return "this session was private once and stays private"


def _shown(removed: Sequence[Removed]) -> list[dict[str, str]]:
    return [{"model": r.model, "origin": r.origin.value, "code": r.code, "reason": r.reason} for r in removed]


def _route(
    rule: CompiledRule,
    verdicts: tuple[RuleVerdict, ...],
    sieve: _Sieve,
    upgrades: tuple[ModelSpec, ...],
    summarizer: ModelSpec | None,
    timeouts: Timeouts,
    chosen: str,
) -> Route:
    own: TimeoutOverrides = rule.rule.timeouts
    return Route(
        rule=rule.name,
        candidates=tuple(sieve.candidates),
        upgrades=upgrades,
        summarizer=summarizer,
        removed=tuple(sieve.removed),
        verdicts=verdicts,
        reasons=sieve.reasons(chosen),
        local_only=sieve.local_only,
        params=rule.rule.params,
        max_output_tokens=rule.rule.max_output_tokens,
        first_token_seconds=own.first_token_seconds or timeouts.first_token_seconds,
        idle_seconds=own.idle_seconds or timeouts.idle_seconds,
        total_seconds=own.total_seconds or timeouts.total_seconds,
    )
