"""Logged requests under other rules: which models and dollars would change. Nothing is called, nothing is written.

What a rule can ask about is in each request's receipt. A request whose first choice stays the same keeps what it cost;
for one that would go elsewhere the cost is the answering attempt's tokens at the new model's price, nothing cached.
Tokenizers differ by a few per cent and answers by more, so this is an estimate; a price or a count that is not known
stays unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import orjson
from sqlalchemy import Connection

from app.config.loader import Config
from app.config.schema import RoutingFile
from app.errors import RequestError
from app.routing.catalog import ModelCatalog
from app.routing.facts import RoutingFacts
from app.routing.route import Origin, Route, decide
from app.routing.rules import RuleSet, compile_rules
from app.store.database import Database
from app.store.writer import driver
from app.usage.pricing import TokenCounts, cost, to_usd
from app.usage.queries import UsageQuery
from app.usage.reading import bounds, conditions
from app.usage.records import Status

AT_ONCE = 200
"""Requests per read: some 20 ms of a reader's thread, none of the loop's."""

_FACTS = frozenset(f.name for f in fields(RoutingFacts))


@dataclass(frozen=True, slots=True)
class Proposal:
    """The rules to try, and what else decides."""

    routing: RoutingFile
    rules: RuleSet
    config: Config
    catalog: ModelCatalog

    @classmethod
    def of(cls, routing: RoutingFile, config: Config, catalog: ModelCatalog) -> Proposal:
        """Raises `ConfigError` with every condition that is wrong."""
        return cls(routing, compile_rules(routing.rules), config, catalog)

    def route(self, facts: RoutingFacts, wish: str | None) -> Route:
        """Raises `RequestError` where the request would be refused."""
        profile = self.config.profile(facts.workspace)
        own = None if profile is None else profile.local_fallback
        return decide(
            facts,
            self.rules,
            self.catalog,
            wish=wish,
            local_fallback=own or self.routing.local_fallback,
            upgrades=self.config.models.upgrades,
            summarizer=self.config.models.summarizer,
            timeouts=self.routing.timeouts,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """Requests that go the same way from one model to another. `after` None: refused, and `refusal` is the code."""

    rule_before: str
    rule_after: str | None
    before: str
    after: str | None
    location_before: str
    location_after: str | None
    refusal: str | None


@dataclass(slots=True)
class Amount:
    """How many requests, and what they cost then and would cost; the unknown ones are in neither sum."""

    requests: int = 0
    cost_before_micro_usd: int = 0
    cost_after_micro_usd: int = 0
    unknown_before: int = 0
    unknown_after: int = 0

    def add(self, before: int | None, after: int | None) -> None:
        self.requests += 1
        self.cost_before_micro_usd += before or 0
        self.cost_after_micro_usd += after or 0
        self.unknown_before += before is None
        self.unknown_after += after is None


@dataclass(slots=True)
class Replay:
    """`changes`: those whose first model would be another. `skipped`: requests without a receipt to go by."""

    whole: Amount = field(default_factory=Amount)
    changes: dict[Change, Amount] = field(default_factory=dict)
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class _Logged:
    """One request of the log: its receipt's JSON (None: there is none) and its attempts, in order."""

    request_id: str
    facts: str | None
    route: str | None
    attempts: Sequence[tuple[Any, ...]]


async def replay(database: Database, query: UsageQuery, proposal: Proposal) -> Replay:
    """All requests that began in the query's range and pass its filters (which are those of their first attempts)."""
    result = Replay()
    cursor = ("", "")
    while True:
        done = await database.read(lambda connection, at=cursor: _some(connection, query, proposal, result, at))  # type: ignore[misc]
        if done is None:
            return result
        cursor = done


def replay_data(result: Replay) -> dict[str, Any]:
    """As the API shows it: the largest changes of cost first."""
    changes = sorted(result.changes.items(), key=lambda item: (-abs(_difference(item[1])), -item[1].requests))
    return {
        "requests": result.whole.requests,
        "changed": sum(amount.requests for amount in result.changes.values()),
        "refused": sum(amount.requests for change, amount in result.changes.items() if change.after is None),
        "skipped": result.skipped,
        "totals": _amount(result.whole),
        "changes": [
            {**{f.name: getattr(change, f.name) for f in fields(Change)}, **_amount(amount)}
            for change, amount in changes
        ],
    }


def _amount(amount: Amount) -> dict[str, Any]:
    return {
        "requests": amount.requests,
        "cost_before_usd": to_usd(amount.cost_before_micro_usd),
        "cost_after_usd": to_usd(amount.cost_after_micro_usd),
        "difference_usd": to_usd(_difference(amount)),
        "unknown_before": amount.unknown_before,
        "unknown_after": amount.unknown_after,
    }


def _difference(amount: Amount) -> int:
    return amount.cost_after_micro_usd - amount.cost_before_micro_usd


def _some(
    connection: Connection, query: UsageQuery, proposal: Proposal, result: Replay, cursor: tuple[str, str]
) -> tuple[str, str] | None:
    """The next requests after `cursor`; the cursor after them, or None where there were none."""
    logged, following = _read(connection, query, cursor)
    for request in logged:
        if request.facts is None or request.route is None or not request.attempts:
            result.skipped += 1
        else:
            _judge(request, orjson.loads(request.facts), orjson.loads(request.route), proposal, result)
    return following


def _read(
    connection: Connection, query: UsageQuery, cursor: tuple[str, str]
) -> tuple[list[_Logged], tuple[str, str] | None]:
    raw = driver(connection)
    where, values = conditions(query.filters, "t")
    sql = (
        "SELECT t.created_at, t.id, t.request_id, r.facts, r.route FROM llm_usage_log t "
        # A ledger may hold two workspaces' rows under one id, and has one receipt of them.
        "LEFT JOIN request_receipts r ON r.request_id = t.request_id "
        "AND r.facts ->> '$.workspace' = t.workspace_profile_id "
        "WHERE t.created_at >= ? AND t.created_at < ? AND (t.created_at, t.id) > (?, ?) "
        f"AND t.attempt = 1 AND t.status <> 'pending'{where} ORDER BY t.created_at, t.id LIMIT {AT_ONCE}"
    )
    start, end = bounds(query)
    rows = raw.execute(sql, (max(start, cursor[0]), end, *cursor, *values)).fetchall()
    if not rows:
        return [], None
    attempts: dict[str, list[tuple[Any, ...]]] = {}
    ids = orjson.dumps([row[2] for row in rows]).decode()
    only = query.filters.get("workspace")
    for request_id, *attempt in raw.execute(_ATTEMPTS, (ids, only, only)):
        attempts.setdefault(request_id, []).append(tuple(attempt))
    logged = [_Logged(id, facts, route, attempts.get(id, ())) for _, _, id, facts, route in rows]
    return logged, (rows[-1][0], rows[-1][1])


_ATTEMPTS = (
    "SELECT request_id, model, location, rule, status, input_tokens, output_tokens, cost_micro_usd FROM llm_usage_log "
    "WHERE request_id IN (SELECT value FROM json_each(?)) AND status <> 'pending' "
    "AND (? IS NULL OR workspace_profile_id = ?) ORDER BY attempt, created_at"
)


def _judge(
    request: _Logged, facts: Mapping[str, Any], route: Mapping[str, Any], proposal: Proposal, result: Replay
) -> None:
    spent = [attempt[6] for attempt in request.attempts]
    before = None if None in spent else sum(spent)
    candidates = route.get("candidates") or [{}]
    wish = next((c["model"] for c in candidates if c.get("origin") == Origin.REQUEST.value), None)
    answering = next((a for a in request.attempts if a[3] == Status.OK.value), request.attempts[-1])
    model, location, rule, _, input_tokens, output_tokens, _ = answering
    try:
        proposed = proposal.route(_facts(facts), wish)
    except RequestError as error:
        change = Change(rule, None, model, None, location, None, error.code)
        after: int | None = 0  # nothing would be sent
    else:
        chosen = proposed.candidates[0].model
        if chosen.id == candidates[0].get("model") or chosen.id == model:
            result.whole.add(before, before)
            return
        change = Change(rule, proposed.rule, model, chosen.id, location, chosen.location.value, None)
        after = cost(TokenCounts(input_tokens, output_tokens), chosen.price.value)
    result.whole.add(before, after)
    result.changes.setdefault(change, Amount()).add(before, after)


def _facts(stored: Mapping[str, Any]) -> RoutingFacts:
    """What an older receipt does not have is as if nobody had said it."""
    return RoutingFacts(**{name: value for name, value in stored.items() if name in _FACTS})
