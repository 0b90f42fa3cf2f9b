"""What the usage and request routes take and answer, as the OpenAPI document describes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from app.api.ledger_schemas import RecordResult, UsageFigures
from app.api.results import Result


class PreviousResult(Result):
    from_: str = Field(alias="from")
    figures: UsageFigures = Field(description="Of the whole period before.")
    figures_so_far: UsageFigures = Field(description="Of its part up to the same time.")
    change: float | None = Field(description="Of the cost so far against that part: 0.25 is a quarter more.")


class ProjectionResult(Result):
    elapsed_share: float
    usd_per_hour: float | None
    usd_per_day: float | None
    cost_usd: float | None = Field(description="Of the whole period, if it goes on like the time that has passed.")


class PatternResult(Result):
    key: dict[str, str | None] = Field(examples=[{"task_type": "debugging"}])
    cost_usd: float
    share: float
    text: str = Field(examples=["debugging is 60 % of this week's cost"])


class SavingsResult(Result):
    """What local models' tokens would have cost at the reference model's price, less what they did."""

    reference: str | None
    requests: int
    input_tokens: int
    output_tokens: int
    saved_usd: float | None
    reason: str | None = Field(description="Why it is not known.")


class VerdictResult(Result):
    count: int
    mean: float = Field(description="1 (useless) to 5 (just right).")


class ComparisonResult(Result):
    task_type: str
    model: str
    figures: UsageFigures
    cost_per_request_usd: float | None = Field(description="Per attempt that went well.")
    verdict: VerdictResult | None


class SummaryResult(Result):
    period: Literal["hour", "day", "week", "month"]
    from_: str = Field(alias="from")
    to: str = Field(description="The period's end; the figures go up to now.")
    tz: str
    figures: UsageFigures
    previous: PreviousResult
    projection: ProjectionResult
    patterns: list[PatternResult] = Field(description="What takes a fifth of the cost or more, largest first.")
    savings: SavingsResult
    comparisons: list[ComparisonResult] = Field(description="Of task types that several models have worked on.")
    notes: list[str]


class DifferenceResult(Result):
    level: int = Field(description="The bucket's width in seconds.")
    bucket: str
    dimension: dict[str, str | None]
    field: str
    stored: int | None
    computed: int | None


class VerifyResult(Result):
    ok: bool = Field(description="Nothing differs, or nothing differs any more.")
    days: int
    rows: int
    buckets: int
    different: int
    repaired: int
    checked_from: str | None = Field(description="Rows from before it were dropped after their time; null: none were.")
    differences: list[DifferenceResult] = Field(description="The first twenty.")


class FeedbackBody(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    score: Annotated[int, Field(ge=1, le=5, strict=True, description="1 (useless) to 5 (just right).")]
    note: str | None = Field(None, max_length=2000)


class FeedbackResult(Result):
    request_id: str
    workspace: str
    model: str = Field(description="The one that answered.")
    task_type: str
    score: int
    note: str | None
    created_at: str


class RequestResult(Result):
    request_id: str
    workspace: str
    attempts: list[RecordResult]
    receipt: dict[str, Any] | None = Field(description="Routing facts, route and context; no text of the request.")
    feedback: FeedbackResult | None


class ReplayBody(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    routing: str | dict[str, Any] = Field(description="A routing.yaml: its text, or the same as an object.")
    start: str | None = Field(None, alias="from", max_length=64, description="30 days before `to` when absent.")
    end: str | None = Field(None, alias="to", max_length=64, description="Exclusive; now when absent.")
    tz: str | None = Field(None, max_length=100)
    workspace: str | None = Field(None, max_length=256)

    def routing_text(self) -> bytes:
        """JSON is YAML, too."""
        text = self.routing if isinstance(self.routing, str) else orjson.dumps(self.routing).decode()
        return text.encode("utf-8", "replace")


class ReplayAmounts(Result):
    requests: int
    cost_before_usd: float | None = Field(description="Of those whose cost is known.")
    cost_after_usd: float | None = Field(description="Estimated of the answering attempt's tokens, nothing cached.")
    difference_usd: float | None
    unknown_before: int
    unknown_after: int


class ReplayChange(ReplayAmounts):
    rule_before: str
    rule_after: str | None
    before: str = Field(description="The model that answered.")
    after: str | None = Field(description="The first that would be asked; null: the request would be refused.")
    location_before: str
    location_after: str | None
    refusal: str | None = Field(description="The code it would be refused with.")


class ReplayResult(Result):
    requests: int
    changed: int
    refused: int
    skipped: int = Field(description="Requests without a receipt to go by.")
    totals: ReplayAmounts
    changes: list[ReplayChange] = Field(description="The largest differences of cost first.")


BODIES = (FeedbackBody, ReplayBody)
