"""What may be sent to `/trigger` and `/agents`, and what is answered there."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.results import Result
from app.api.schemas import Body, Id, JsonObject

StateName = Literal["due", "running", "ok", "failed", "missed", "interrupted", "skipped", "cancelled"]


class TriggerBody(Body):
    """Which agent to run now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"agent": "maintenance", "wait": True}]})

    agent: Id = Field(description="An entry of agents.yaml, or one of the built-in agents.")
    workspace: Id | None = Field(None, description="A profile's id; else the entry's, else the default one.")
    input: JsonObject = Field(default_factory=dict, description="Put over the entry's own; must fit the schema.")
    wait: bool = Field(False, description="Answer when the run is over, or after 60 s with 202.")
    dry_run: bool = Field(False, description="Do everything but store and notify.")


BODIES: tuple[type[BaseModel], ...] = (TriggerBody,)
"""Read without FastAPI's help; the OpenAPI document is told about them."""


class LackResult(Result):
    what: str
    remedy: str


class ProgressResult(Result):
    text: str
    done: int | None
    total: int | None


class RunResult(Result):
    """One run, or one due time that had none."""

    run_id: str
    agent: str
    kind: str = Field(description="Which agent the entry runs.")
    workspace: str
    state: StateName
    cause: Literal["schedule", "trigger", "rerun"]
    scheduled_at: str | None = Field(description="When it was due (ISO 8601, UTC); null where somebody triggered it.")
    created_at: str
    started_at: str | None
    finished_at: str | None
    attempt: int = Field(description="How many tries were begun.")
    dry_run: bool
    rerun_of: str | None = Field(description="The interrupted run it stands for.")
    error_code: str | None
    error_message: str | None
    progress: ProgressResult | None


class LineResult(Result):
    at: str
    level: Literal["debug", "info", "warning", "error"]
    text: str


class RunDetailResult(RunResult):
    input: dict[str, Any]
    summary: str | None = Field(description="Markdown.")
    data: dict[str, Any]
    stored: list[str] = Field(description="Ids of what it stored.")
    withheld: list[str] = Field(description="Of a dry run: what would have been stored or told.")
    models: list[str] = Field(description="Models that answered it, by the ledger.")
    requests: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None = Field(description="Null where some of it has no known price.")
    log: list[LineResult]


class RunList(Result):
    runs: list[RunResult]
    next_cursor: str | None


class AgentResultItem(Result):
    name: str
    agent: str = Field(description="Which agent the entry runs.")
    description: str
    configured: bool = Field(description="False: agents.yaml does not name it, so it runs when it is triggered.")
    status: Literal["running", "paused", "incomplete", "scheduled", "manual"]
    enabled: bool
    schedule: str | None
    timezone: str = Field(description="Where its schedule's times are.")
    workspace: str
    next_due: str | None
    paused_at: str | None
    paused_because: str | None
    failures: int = Field(description="In a row.")
    lacks: list[LackResult]
    running: str | None = Field(description="Id of the run going on.")
    latest: RunResult | None


class AgentDetail(AgentResultItem):
    upcoming: list[str] = Field(description="The next due times, UTC.")
    input_schema: dict[str, Any]
    settings_schema: dict[str, Any]
    rerun_is_safe: bool


class AgentList(Result):
    agents: list[AgentResultItem]
