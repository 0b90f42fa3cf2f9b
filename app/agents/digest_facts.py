"""What a digest is about, read with SQL that sees one workspace, over a stretch of time. All figures come from here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.agents.data import AgentData
from app.store.tables import to_text

MOST_SESSIONS: Final = 8
MOST_NEWS: Final = 12
MOST_STEPS: Final = 10

_SESSIONS = """
    SELECT s.id, s.title, s.updated_at, t.state,
        (SELECT count(*) FROM session_messages m WHERE m.session_id = s.id AND m.created_at >= :since) AS messages
    FROM sessions s LEFT JOIN session_state t ON t.session_id = s.id
    WHERE s.updated_at >= :since AND s.updated_at < :until
    ORDER BY s.updated_at DESC LIMIT :most
"""
_NEWS = """
    SELECT title, body, severity, json_extract(about, '$.agent') AS agent FROM notifications
    WHERE created_at >= :since AND created_at < :until AND kind = 'agent' AND archived_at IS NULL
        AND coalesce(json_extract(about, '$.agent'), '') <> :self
    ORDER BY CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, seq DESC LIMIT :most
"""
_RUNS = """
    SELECT agent, state, count(*) AS runs, max(error_message) AS message FROM agent_runs
    WHERE created_at >= :since AND created_at < :until AND NOT dry_run AND agent <> :self
    GROUP BY agent, state ORDER BY agent, state
"""
_BUILDS = """
    SELECT agent, key, document FROM agent_documents
    WHERE kind = 'pipeline' AND json_extract(document, '$.state') = 'failing' ORDER BY updated_at DESC LIMIT 20
"""
_COST = """
    SELECT model, location, count(*) AS calls, coalesce(sum(input_tokens), 0) AS input_tokens,
        coalesce(sum(output_tokens), 0) AS output_tokens, coalesce(sum(cost_micro_usd), 0) AS micro_usd,
        sum(cost_micro_usd IS NULL AND status = 'ok') AS unpriced
    FROM llm_usage_log WHERE created_at >= :since AND created_at < :until GROUP BY model, location
    ORDER BY micro_usd DESC, calls DESC
"""
_REQUESTS = """
    SELECT count(DISTINCT request_id) AS requests,
        count(DISTINCT CASE location WHEN 'cloud' THEN request_id END) AS cloud
    FROM llm_usage_log WHERE created_at >= :since AND created_at < :until
"""
_SPENT = """
    SELECT coalesce(sum(cost_micro_usd), 0) AS micro_usd FROM llm_usage_log
    WHERE created_at >= :since AND created_at < :until
"""


@dataclass(frozen=True, slots=True)
class WorkedSession:
    """A session that was used. `state` is its own: goal, current_task, next_steps, blockers, as far as written."""

    id: str
    title: str
    messages: int
    state: Mapping[str, Any]

    def lines(self, name: str) -> list[str]:
        """A list of its state; nothing where there is none."""
        found = self.state.get(name)
        return [str(line) for line in found] if isinstance(found, list) else []

    def text(self, name: str) -> str:
        return str(self.state.get(name) or "")


@dataclass(frozen=True, slots=True)
class News:
    """What an agent told. `body` is Markdown."""

    title: str
    body: str
    severity: str
    agent: str


@dataclass(frozen=True, slots=True)
class BrokenBuild:
    """A build that fails now. `agent` watches it; `since`: when it was found to fail (UTC)."""

    name: str
    agent: str
    since: datetime | None
    reason: str
    diagnosis: str
    url: str
    failed: Sequence[str]

    def told_by(self, news: News) -> bool:
        """Whether the news is that it broke."""
        return news.agent == self.agent and news.severity == "error" and news.title.startswith(f"{self.name} ")


@dataclass(frozen=True, slots=True)
class AgentRuns:
    """How often an agent came to this state. `message`: why, of one that failed."""

    agent: str
    state: str
    runs: int
    message: str | None


@dataclass(frozen=True, slots=True)
class ModelUse:
    """One model. `micro_usd` leaves out the `unpriced` answers, whose cost nobody knows."""

    model: str
    calls: int
    """Of one request there may be several, and by several models."""
    tokens: int
    micro_usd: int
    unpriced: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything of one stretch of time, `since` inclusive, `until` exclusive, in UTC."""

    since: datetime
    until: datetime
    sessions: Sequence[WorkedSession]
    news: Sequence[News]
    runs: Sequence[AgentRuns]
    builds: Sequence[BrokenBuild]
    models: Sequence[ModelUse]
    requests: int
    """Each once, however many models it asked."""
    local_requests: int
    """Those of which no attempt was outside."""
    spent_before: int
    """Micro-dollars in the stretch of the same length before."""

    @property
    def micro_usd(self) -> int:
        return sum(model.micro_usd for model in self.models)

    @property
    def quiet(self) -> bool:
        """Nothing happened."""
        return not (self.sessions or self.news or self.builds or self.models)


async def gather(data: AgentData, agent: str, since: datetime, until: datetime) -> Facts:
    """The facts of the workspace that `data` sees. `agent`: whose own news and runs are left out."""
    span: dict[str, Any] = {"since": to_text(since), "until": to_text(until)}
    before = {"since": to_text(since - (until - since)), "until": to_text(since)}
    told = {**span, "self": agent}
    sessions = await data.query(_SESSIONS, {**span, "most": MOST_SESSIONS})
    asked = (await data.query(_REQUESTS, span))[0]
    return Facts(
        since,
        until,
        [
            WorkedSession(row["id"], row["title"] or row["id"], row["messages"], _object(row["state"]))
            for row in sessions
        ],
        [
            News(row["title"], row["body"] or "", row["severity"], row["agent"] or "")
            for row in await data.query(_NEWS, {**told, "most": MOST_NEWS})
        ],
        [AgentRuns(row["agent"], row["state"], row["runs"], row["message"]) for row in await data.query(_RUNS, told)],
        [_build(row["agent"], row["key"], _object(row["document"])) for row in await data.query(_BUILDS)],
        [_model_use(row) for row in await data.query(_COST, span)],
        asked["requests"],
        asked["requests"] - asked["cloud"],
        int((await data.query(_SPENT, before))[0]["micro_usd"]),
    )


def _build(agent: str, name: str, found: Mapping[str, Any]) -> BrokenBuild:
    """Out of what the pipeline agent keeps of it."""
    failed = found.get("failed")
    return BrokenBuild(
        name,
        agent,
        datetime.fromisoformat(found["at"]) if found.get("at") else None,
        str(found.get("reason") or ""),
        str(found.get("diagnosis") or ""),
        str(found.get("url") or ""),
        [str(one) for one in failed] if isinstance(failed, list) else [],
    )


def _model_use(row: Mapping[str, Any]) -> ModelUse:
    tokens = int(row["input_tokens"]) + int(row["output_tokens"])
    return ModelUse(row["model"], row["calls"], tokens, row["micro_usd"], row["unpriced"] or 0)


def _object(text: str | None) -> dict[str, Any]:
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}
