"""`/api/v1/usage`: what was spent, from the ledger: reports, rows, files, a period at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import StreamingResponse

from app.api.callers import caller_of
from app.api.deps import api_of, json_response, v1_router
from app.api.ledger_schemas import RecordList, UsageResult
from app.api.results import Problem
from app.api.usage_schemas import SummaryResult, VerifyResult
from app.usage.budget_states import BudgetState, budget_states
from app.usage.export import MEDIA_TYPES, export
from app.usage.figures import FIELDS
from app.usage.insights import period_of
from app.usage.overview import Overview
from app.usage.queries import FILTERS, UsageQuery, parse_query, parse_zone
from app.usage.reports import UsageReport

router = v1_router("usage")

_RESPONSES: dict[int | str, dict[str, Any]] = {422: {"model": Problem}}
Filter = Annotated[str | None, Field(max_length=256)]


class RangeParams(BaseModel):
    """Which rows. Every filter is an equality."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    start: str | None = Field(
        None, alias="from", max_length=64, description="ISO 8601, inclusive; 30 days before `to` when absent."
    )
    end: str | None = Field(None, alias="to", max_length=64, description="ISO 8601, exclusive; now when absent.")
    tz: str | None = Field(None, max_length=100, description="IANA time zone of dates and days; UTC when absent.")
    workspace: Filter = None
    model: Filter = None
    task_type: Filter = None
    agent: Filter = None
    session: Filter = None
    rule: Filter = None
    location: Filter = None
    provider: Filter = None
    status: Filter = None
    request_id: Filter = None


class UsageParams(RangeParams):
    group_by: str | None = Field(
        None, max_length=200, description="One to three, comma-separated.", examples=["model,day"]
    )


class RecordParams(RangeParams):
    limit: int = Field(100, ge=1, le=1000)
    cursor: str | None = Field(None, max_length=512, description="`next_cursor` of the page before.")


class ExportParams(RangeParams):
    format: Literal["csv", "ndjson"] = "csv"


class SummaryParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    period: Literal["hour", "day", "week", "month"] = Field("week", description="The one that is now.")
    tz: str | None = Field(None, max_length=100, description="IANA time zone of its beginning; UTC when absent.")
    workspace: Filter = None


class VerifyParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    repair: bool = False


@router.get(
    "/usage", summary="Totals and groups", operation_id="usage", responses={200: {"model": UsageResult}, **_RESPONSES}
)
async def usage(request: Request, params: Annotated[UsageParams, Query()]) -> Any:
    """Exact sums over the rows of a time range, by up to three groupings."""
    services = api_of(request).services
    # Said twice is said with a comma.
    group_by = ",".join(request.query_params.getlist("group_by"))
    report = await services.reports.report(_query(request, params, group_by))
    return json_response(usage_data(report, budget_states(services.budgets), caller_of(request).workspace))


@router.get(
    "/usage/records",
    summary="The rows themselves",
    operation_id="usage_records",
    responses={200: {"model": RecordList}, **_RESPONSES},
)
async def records(request: Request, params: Annotated[RecordParams, Query()]) -> Any:
    """Newest first, a page at a time; no page repeats or skips a row that was there at the first."""
    services = api_of(request).services
    page = await services.reports.records(_query(request, params, None), limit=params.limit, cursor=params.cursor)
    return json_response({"records": [asdict(r) for r in page.records], "next_cursor": page.next_cursor})


@router.get(
    "/usage/export",
    summary="The rows as a file",
    operation_id="usage_export",
    responses={200: {"content": {"text/csv": {}, "application/x-ndjson": {}}}, **_RESPONSES},
)
async def export_rows(request: Request, params: Annotated[ExportParams, Query()]) -> Any:
    """Every row of the range, newest first, as CSV (with a heading) or as one JSON object a line, while it is read."""
    query = _query(request, params, None)
    name = f"usage-{query.start:%Y%m%d}-{query.end:%Y%m%d}.{params.format}"
    return StreamingResponse(
        export(api_of(request).services.reports, query, params.format),
        media_type=MEDIA_TYPES[params.format],
        headers={"cache-control": "no-store", "content-disposition": f'attachment; filename="{name}"'},
    )


@router.get(
    "/usage/summary",
    summary="A period at a glance",
    operation_id="usage_summary",
    responses={200: {"model": SummaryResult}, **_RESPONSES},
)
async def summary(request: Request, params: Annotated[SummaryParams, Query()]) -> Any:
    """The hour, day, week or month so far: against the one before, where it is heading, what costs most, what local
    models saved, and model against model on the same task type, people's verdicts included."""
    services, zone = api_of(request).services, parse_zone(params.tz)
    period = period_of(params.period, services.clock.now(), zone)
    workspace = caller_of(request).workspace_for(params.workspace)
    return json_response(summary_data(await services.usage.overview(period, zone, workspace)))


@router.post(
    "/usage/verify",
    summary="Do the sums agree with the rows?",
    operation_id="usage_verify",
    responses={200: {"model": VerifyResult}, **_RESPONSES},
)
async def verify(request: Request, params: Annotated[VerifyParams, Query()]) -> Any:
    """Adds up every row anew and compares with the roll-ups; with `repair=true`, replaces what differs."""
    verification = await api_of(request).services.usage.verify(repair=params.repair)
    return json_response({"ok": verification.ok, **asdict(verification)})


def summary_data(overview: Overview) -> dict[str, Any]:
    zone, period = ZoneInfo(overview.tz), overview.period
    return {
        "period": period.name,
        "from": period.start.astimezone(zone).isoformat(),
        "to": period.end.astimezone(zone).isoformat(),
        "tz": overview.tz,
        "figures": asdict(overview.figures),
        "previous": {
            "from": period.previous_start.astimezone(zone).isoformat(),
            "figures": asdict(overview.change.previous),
            "figures_so_far": asdict(overview.change.previous_so_far),
            "change": overview.change.share,
        },
        "projection": asdict(overview.projection),
        "patterns": [asdict(pattern) for pattern in overview.patterns],
        "savings": asdict(overview.savings),
        "comparisons": [asdict(comparison) for comparison in overview.comparisons],
        "notes": list(overview.notes),
    }


def usage_data(report: UsageReport, budgets: Sequence[BudgetState], workspace: str | None = None) -> dict[str, Any]:
    """`workspace`: the only one whose budgets are shown."""
    zone = ZoneInfo(report.tz)
    return {
        "from": report.start.astimezone(zone).isoformat(),
        "to": report.end.astimezone(zone).isoformat(),
        "tz": report.tz,
        "group_by": list(report.group_by),
        "totals": asdict(report.totals),
        "groups": _groups(report),
        "notes": list(report.notes),
        "budgets": [asdict(state) for state in budgets if workspace in (None, state.workspace)],
    }


def _groups(report: UsageReport) -> list[dict[str, Any]]:
    width = len(report.group_by)
    return [
        {"key": dict(zip(report.group_by, row, strict=False)), **dict(zip(FIELDS, row[width:], strict=True))}
        for row in report.rows
    ]


def _query(request: Request, params: RangeParams, group_by: str | None) -> UsageQuery:
    filters: dict[str, str | None] = {name: getattr(params, name) for name in FILTERS}
    filters["workspace"] = caller_of(request).workspace_for(params.workspace)
    return parse_query(
        start=params.start,
        end=params.end,
        tz=params.tz,
        group_by=group_by,
        filters=filters,
        now=api_of(request).services.clock.now(),
    )
