"""From a request to a decided route: shared by `stream` and `explain`, so that the one cannot differ from the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from app.config.loader import Config
from app.config.schema import Profile
from app.context.blocks import Material
from app.context.builder import ContextBuilder, Prepared
from app.llm.calls import ModelRequest
from app.routing.catalog import ModelCatalog
from app.routing.code import contains_code, messages_contain_code
from app.routing.route import Route, RoutingFacts, decide
from app.routing.rules import RuleSet

COUNTING_TOKENIZER = "gpt-4"
"""The rules' `input_tokens` is counted before any model is chosen, so by one tokenizer for all: cl100k_base."""

SUMMARIZER = "summarizer"
"""The agent that asks for summaries, here and after an answer."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What requests are decided by: one consistent set, swapped whole between requests."""

    config: Config
    rules: RuleSet
    catalog: ModelCatalog

    def profile(self, workspace: str) -> Profile:
        """The workspace's profile. Raises `UnknownWorkspace`: an unknown one is never treated as public."""
        return self.config.known_profile(workspace)


@dataclass(frozen=True, slots=True)
class Plan:
    """A request with everything decided that can be decided without asking a model."""

    request: ModelRequest
    policy: Policy
    prepared: Prepared
    facts: RoutingFacts
    route: Route

    @property
    def only_truncates(self) -> bool:
        """A request for a summary is what other requests wait for: it neither upgrades nor has summaries written."""
        return self.request.agent == SUMMARIZER

    @property
    def wanted_output(self) -> int | None:
        return self.request.max_output_tokens or self.route.max_output_tokens


def involves_code(material: Material) -> bool:
    """Whether code is part of what would be sent: an open file, a stack trace, or text that looks like code."""
    if material.file is not None or material.stacktrace:
        return True
    return messages_contain_code((*material.history, *material.messages)) or any(
        contains_code(chunk.text) for chunk in material.chunks
    )


def has_images(material: Material) -> bool:
    return any(
        isinstance(part, Mapping) and part.get("type") in ("image_url", "input_image", "image")
        for message in (*material.messages, *material.history)
        if isinstance(content := message.get("content"), list)
        for part in content
    )


def local_hour(profile: Profile, now: datetime) -> int:
    """The hour of the day where the profile's person is; the machine's zone where the profile names none."""
    return now.astimezone(ZoneInfo(profile.timezone) if profile.timezone else None).hour


def facts_of(
    request: ModelRequest, profile: Profile, now: datetime, *, input_tokens: int, budget_used: float
) -> RoutingFacts:
    """What the rules are asked about. Whether code is involved is looked for where the request does not say."""
    material = request.material
    return RoutingFacts(
        task_type=request.task_type,
        workspace=profile.id,
        contains_code=involves_code(material) if request.contains_code is None else request.contains_code,
        block_cloud_apis=profile.block_cloud_apis,
        input_tokens=input_tokens,
        has_images=has_images(material),
        has_tools=bool(request.tools),
        has_response_format=request.response_format is not None,
        session_private=request.session_private,
        agent=request.agent,
        hour=local_hour(profile, now),
        budget_used=budget_used,
        metadata=request.metadata,
    )


async def make_plan(
    request: ModelRequest,
    policy: Policy,
    builder: ContextBuilder,
    now: datetime,
    *,
    budget_used: float = 0.0,
    all_verdicts: bool = False,
) -> Plan:
    """Prepare the material, gather the facts, decide. `budget_used`: the fact of that name.

    Raises `UnknownWorkspace`, `UnknownModel`, `NoRule`, `NoPermittedModel`.
    """
    profile, config = policy.profile(request.workspace), policy.config
    prepared = await builder.prepare(request.material, config.routing.context.similarity_line)
    tokens = await prepared.total_tokens(COUNTING_TOKENIZER)
    facts = facts_of(request, profile, now, input_tokens=tokens, budget_used=budget_used)
    route = decide(
        facts,
        policy.rules,
        policy.catalog,
        wish=request.wish,
        rule=request.rule,
        local_fallback=profile.local_fallback or config.routing.local_fallback,
        upgrades=config.models.upgrades,
        summarizer=config.models.summarizer,
        timeouts=config.routing.timeouts,
        all_verdicts=all_verdicts,
    )
    if request.one_try:
        route = replace(route, candidates=route.candidates[:1])
    if request.ranking is not None:
        await _counted_for(prepared, route)
        prepared = prepared.with_scores(await request.ranking)
    return Plan(request, policy, prepared, facts, route)


async def _counted_for(prepared: Prepared, route: Route) -> None:
    """The tokens of the model that is asked first, counted while the ranking is under way."""
    if route.candidates:
        await prepared.sizes(route.candidates[0].model.tokenizer)
