"""What is answered, as the OpenAPI document describes it. Routes write plain JSON; tests hold it to this."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

LocationName = Literal["in_process", "loopback", "trusted", "cloud"]
SourceName = Literal["config", "litellm", "server", "default"]


class Result(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldError(Result):
    field: str = Field(description="Path of what is wrong.", examples=["context.chunks[0].start_line"])
    message: str = Field(description="What was expected.", examples=["must be a whole number"])


class Problem(BaseModel):
    """RFC 9457. Further members depend on the code."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:llm-sidecar:problem:unknown_workspace"])
    title: str = Field(examples=["Unknown workspace"])
    status: int = Field(examples=[422])
    detail: str = Field(description="One sentence for people, with the remedy where there is one.")
    code: str = Field(description="For programs; never changes.", examples=["unknown_workspace"])
    request_id: str
    errors: list[FieldError] | None = Field(None, description="Of a 422: every wrong field.")


class Liveness(Result):
    """Says that the sidecar is there, to whoever asks; details need the token."""

    status: Literal["starting", "ok", "shutting_down"]
    version: str = Field(examples=["0.1.0"])
    instance_id: str | None = Field(description="Made anew at each start; null while starting.")


class PartHealth(BaseModel):
    """One part; further members depend on it."""

    model_config = ConfigDict(extra="allow")

    status: Literal["ok", "starting", "degraded", "down"]
    reason: str | None = None
    remedy: str | None = Field(None, description="What the person can do about it.")


class Health(Result):
    status: Literal["ok", "starting", "degraded", "down"] = Field(description="The worst part's.")
    version: str
    instance_id: str
    started_at: str = Field(description="ISO 8601, UTC.")
    open_streams: int
    parts: dict[str, PartHealth] = Field(
        description="config, ledger, litellm, models (in `servers` each model endpoint, by address or provider), "
        "embedder, index, scheduler, agents, notifications, entities."
    )


class RouteResult(Result):
    request_id: str
    rule: str = Field(description="The first rule that matched.", examples=["complex_reasoning"])
    model: str = Field(description="The first candidate.")
    location: LocationName
    candidates: list[str] = Field(description="Ids of the permitted models, in the order they are asked.")
    reasons: list[str] = Field(description="Sentences for people.")


class BlockResult(Result):
    """What became of one piece of context."""

    id: str
    kind: str
    priority: int = Field(description="1 is never trimmed, 2 last, 3 first.")
    tokens: int
    outcome: Literal["kept", "shortened", "summarised", "dropped"]
    reason: str


class ContextResult(Result):
    model: str
    window: int = Field(description="The model's limit in tokens.")
    input_tokens: int = Field(description="Counted before the call; what the provider reported is in `done`.")
    reserved_output: int
    upgraded_from: str | None = Field(None, description="The model whose window was too small.")
    blocks: list[BlockResult]
    notes: list[str] = Field(
        default_factory=list, description="Upgrades that were not taken and why, who summarised; absent where empty."
    )


class AttemptResult(Result):
    model: str
    number: int
    outcome: Literal["ok", "error", "cancelled"]
    code: str | None
    reason: str | None
    latency_ms: int


class ToolCallResult(Result):
    id: str | None
    name: str | None
    arguments: str = Field(description="JSON text, as the model wrote it.")


class ChatResult(Result):
    """The whole answer, with `stream: false`."""

    request_id: str
    text: str
    tool_calls: list[ToolCallResult]
    route: RouteResult
    context: ContextResult | None
    attempts: list[AttemptResult]
    model: str = Field(description="Who answered, by its configured id.")
    location: LocationName
    finish_reason: str = Field(examples=["stop", "length", "tool_calls", "content_filter"])
    input_tokens: int
    output_tokens: int
    cost_usd: float | None = Field(description="null: unknown. A local model costs 0.")
    cost_source: Literal["provider", "computed", "estimated", "unknown"]
    latency_ms: int
    time_to_first_token_ms: int | None
    attempt_count: int
    warnings: list[str]
    ledger: Literal["stored", "queued"]


class VerdictResult(Result):
    rule: str
    matched: bool
    failed: str | None = Field(description="The first condition that did not hold, with both sides.")


class RemovedResult(Result):
    """A model that would have been a candidate."""

    model: str
    origin: str
    code: str = Field(examples=["policy", "capability", "unknown_model"])
    reason: str


class ExplainedRoute(RouteResult):
    verdicts: list[VerdictResult]
    removed: list[RemovedResult]
    upgrades: list[str]
    summarizer: str | None
    local_only: bool = Field(description="True: nothing of this request may leave the machine.")
    max_output_tokens: int | None


class CandidateResult(Result):
    """What one candidate would see and cost."""

    model: str
    origin: str = Field(examples=["request", "rule", "fallback", "local_fallback"])
    location: LocationName
    available: bool | None = Field(description="null: not known.")
    resting: str | None = Field(description="Why it would be skipped just now.")
    context: ContextResult | None
    problem: str | None = Field(description="Why the request cannot be fitted to it.")
    estimated_cost_usd: float | None = Field(description="With the whole output reserve written; null: price unknown.")
    budget: str | None = Field(description="Why a budget would keep it from being asked, or what a shadow would do.")


class ExplainResult(Result):
    """What a chat with this body would do, without doing it."""

    request_id: str
    route: ExplainedRoute
    facts: dict[str, Any] = Field(description="What the rules were asked about.")
    candidates: list[CandidateResult]
    budget: dict[str, Any]
    warnings: list[str]
    messages: list[dict[str, Any]] | None = Field(None, description="With `include_messages`: what would be sent.")


class Sourced(Result):
    source: SourceName


class SourcedInt(Sourced):
    value: int


class SourcedLimit(Sourced):
    value: int | None


class PriceResult(Result):
    """US dollars per million tokens."""

    input: float
    output: float
    cached_input: float | None
    cache_write: float | None
    reasoning: float | None = Field(description="Of output tokens that are thought; null: what the others cost.")


class SourcedPrice(Sourced):
    value: PriceResult | None = Field(description="null: unknown.")


class ModelResult(Result):
    id: str
    provider: str
    location: LocationName
    location_reason: str
    api_base: str | None
    available: bool | None = Field(description="false: its server does not list it; null: not known.")
    context_window: SourcedInt
    max_output_tokens: SourcedLimit
    price: SourcedPrice
    tokenizer: str
    lacks: list[str] = Field(description="Known not to have: tools, images, response_format.")
    unusable: str | None = Field(description="Why it can never be asked as things stand.")
    warnings: list[str]


class ModelList(Result):
    models: list[ModelResult]


class NotificationResult(Result):
    id: str
    seq: int = Field(description="Rises with every one; `Last-Event-ID` of the stream.")
    workspace: str
    private: bool = Field(description="true: it is sent to no webhook.")
    kind: str = Field(description="budget_threshold, budget_acted, budget_unpriced, agent, …")
    severity: Literal["info", "success", "warning", "error"]
    title: str
    body: str
    links: list[dict[str, str]]
    about: dict[str, Any]
    created_at: str
    read_at: str | None
    archived_at: str | None


class NotificationList(Result):
    notifications: list[NotificationResult]
    unread: int
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last.")


class ReadAllResult(Result):
    read: int = Field(description="How many were not read before.")


class DashboardLink(Result):
    path: str = Field(description="Opens the dashboard once.", examples=["/dashboard/login?code=…"])
    expires_in_seconds: int
