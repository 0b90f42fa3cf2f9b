"""Budgets as values: which limits there are, whom they cover, and whether a call may still be made under one.

Pure: no clock, no state, no I/O. `app.usage.budgets` keeps what is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from zoneinfo import ZoneInfo

from app.config.loader import Config
from app.config.schema import Budget, CountAs
from app.usage.spend import Amount, Scope

LIKELY_OUTPUT_TOKENS = 512
"""What an answer is taken to need at least, where the last call under a budget is let through alone."""
_STRICTEST_FIRST = ("block", "local_only", "cheaper", "alert")


@dataclass(frozen=True, slots=True)
class Quote:
    """What a call may cost, in micro-dollars; None: its price is not known.

    `most`: the prompt, and every token it may write. `likely`: the prompt and a short answer.
    """

    model: str
    is_local: bool
    most: int | None
    likely: int | None
    tokens: int
    """Input, and every token it may write."""

    @property
    def is_free(self) -> bool:
        return self.most == 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What one request has spent, with all that was made for it. `held`: its own next call, where it waits for one
    that is made for it. `made`: what that one has spent by itself, where it is asked for it."""

    amount: Amount = field(default_factory=Amount)
    held: Quote | None = None
    made: Amount | None = None


@dataclass(frozen=True)
class Limit:
    """A budget in force, and whom it covers. `workspace`, `agent`, `task_type` None: any."""

    entry: Budget
    workspace: str | None
    agent: str | None
    task_type: str | None
    zone: tzinfo | None
    """Of its periods; None: the machine's."""

    @cached_property
    def micro_usd(self) -> int:
        return int((Decimal(str(self.entry.limit_usd)) * 1_000_000).to_integral_value())

    @cached_property
    def is_enforced(self) -> bool:
        """Whether it ever keeps a call from being made."""
        return self.entry.on_limit != "alert" and not self.entry.shadow

    @cached_property
    def per_request(self) -> bool:
        return self.entry.period == "request"

    @cached_property
    def key(self) -> str:
        """What it is recognised by; a budget whose limit or reach was changed is another one."""
        parts = (
            self.workspace, self.agent, self.task_type, self.entry.period, str(self.zone), self.micro_usd,
            self.entry.on_limit, self.entry.shadow,
        )  # fmt: skip
        return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()

    def covers(self, scope: Scope) -> bool:
        return (
            self.workspace in (None, scope.workspace)
            and self.agent in (None, scope.agent, scope.parent_agent)
            and self.task_type in (None, scope.task_type, scope.parent_task_type)
        )

    def standing_of(self, scope: Scope, spent: Spent) -> Standing:
        """Of a limit per request: where it covers what is made for a request and not the request, what that has spent
        and holds is left out."""
        if spent.made is not None and not self.covers(scope.parent):
            return Standing(self.used_of(spent.made), 0)
        return Standing(self.used_of(spent.amount), self.held_for(spent.held))

    def used_of(self, amount: Amount) -> int:
        """How much of it `amount` uses up; what has no price by `count_as`."""
        return amount.micro_usd + self._counted(amount.unpriced_tokens)

    def held_for(self, quote: Quote | None) -> int:
        if quote is None:
            return 0
        return self._counted(quote.tokens) if quote.most is None else quote.most

    def _counted(self, tokens: int) -> int:
        rule = self.entry.unknown_price
        if not tokens or not isinstance(rule, CountAs):
            return 0
        return int((Decimal(str(rule.count_as)) * tokens).to_integral_value(ROUND_CEILING))

    def __str__(self) -> str:
        whom = [f"{kind} `{name}`" for kind, name in (
            ("workspace", self.workspace), ("agent", self.agent), ("task type", self.task_type)
        ) if name is not None]  # fmt: skip
        period = "per request" if self.per_request else f"of the {self.entry.period}"
        return f"the budget {period} for {', '.join(whom) if whom else 'everything'}"


@dataclass(frozen=True, slots=True)
class Standing:
    """Micro-dollars of a limit that are used, and held for calls that are running."""

    used: int
    reserved: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call may not be made, by the strictest of the budgets that object."""

    limit: Limit
    reason: str

    @property
    def on_limit(self) -> str:
        return self.limit.entry.on_limit


def limits_of(config: Config) -> tuple[Limit, ...]:
    """Every budget of the configuration: those for all, the profiles', the agents'."""
    return tuple(_limits(config))


def _limits(config: Config) -> Iterator[Limit]:
    for entry in config.profiles.budgets:
        yield Limit(entry, None, entry.agent, entry.task_type, _zone(entry.timezone))
    for profile in config.profiles.profiles:
        for entry in profile.budgets:
            zone = _zone(entry.timezone or profile.timezone)
            yield Limit(entry, profile.id, entry.agent, entry.task_type, zone)
    for agent in config.agents.agents:
        home = config.profile(agent.workspace) if agent.workspace else None
        if (own := agent.budget) is not None:
            zone = _zone(own.timezone or agent.timezone or (home.timezone if home else None))
            yield Limit(own, None, agent.name, own.task_type, zone)


def _zone(name: str | None) -> ZoneInfo | None:
    return ZoneInfo(name) if name else None


def objection(limit: Limit, standing: Standing, quote: Quote) -> str | None:
    """Why the call may not be made under `limit`, in one sentence; None where it may.

    A call may be made where `used + reserved + most <= limit`. So a model with a large output limit could never be
    asked under a small budget; therefore a call is also let through while no other is running under the budget, if a
    short answer (`LIKELY_OUTPUT_TOKENS`) fits. The limit is then passed by what one call writes beyond that, at most.
    A limit per request is kept strictly.
    """
    if limit.entry.on_limit == "alert":
        return None
    if quote.most is None and not isinstance(limit.entry.unknown_price, CountAs):
        return (
            f"the price of {quote.model} is not known, and {limit} refuses that; "
            "set its price in models.yaml, or the budget's unknown_price"
        )
    total, held = limit.micro_usd, limit.held_for(quote)
    if quote.is_free:
        if quote.is_local or limit.entry.on_limit != "local_only" or limit.per_request:
            return None
        return _spent(limit, standing, 0) if standing.used + standing.reserved >= total else None
    if standing.used + standing.reserved + held <= total:
        return None
    likely = held if quote.likely is None else quote.likely
    if not limit.per_request and not standing.reserved and standing.used + likely <= total:
        return None
    return _spent(limit, standing, held)


def _spent(limit: Limit, standing: Standing, held: int) -> str:
    parts = [f"{dollars(standing.used)} of {dollars(limit.micro_usd)} are used"]
    if standing.reserved:
        parts.append(f"{dollars(standing.reserved)} are held by calls that are running")
    if held:
        parts.append(f"this call may cost {dollars(held)}")
    return f"{limit} does not allow it: {', '.join(parts)}"


def strictest(refusals: list[Refusal]) -> Refusal | None:
    return min(refusals, key=lambda refusal: _STRICTEST_FIRST.index(refusal.on_limit), default=None)


def dollars(micro_usd: int) -> str:
    """$15.00; with more digits where cents are not enough."""
    value = Decimal(micro_usd) / 1_000_000
    return f"${value:.2f}" if micro_usd % 10_000 == 0 else f"${value:.4f}"
