"""A request with all that is known of it, and what the person thought of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from app.errors import NotFound
from app.store.tables import llm_usage_log, request_feedback, to_bound, to_text
from app.usage.insights import Verdict
from app.usage.receipts import receipt_in, to_json
from app.usage.records import Receipt, Status, UsageRecord

_F = request_feedback.c


@dataclass(frozen=True, slots=True)
class Feedback:
    """`score`: 1 (useless) to 5 (just right). `model` is the one that answered."""

    request_id: str
    workspace: str
    model: str
    task_type: str
    score: int
    note: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class RequestDetail:
    """`receipt` is None where none was written, `feedback` where nobody gave any."""

    attempts: tuple[UsageRecord, ...]
    receipt: Receipt | None
    feedback: Feedback | None


def detail_data(detail: RequestDetail, attempts: list[dict[str, Any]]) -> dict[str, Any]:
    """As the API shows it; `attempts` are the rows as it shows those."""
    first = detail.attempts[0]
    receipt = None if detail.receipt is None else to_json(detail.receipt)
    feedback = detail.feedback
    return {
        "request_id": first.request_id,
        "workspace": first.workspace_profile_id,
        "attempts": attempts,
        "receipt": receipt,
        "feedback": None if feedback is None else feedback_data(feedback),
    }


def feedback_data(feedback: Feedback) -> dict[str, Any]:
    return {name: getattr(feedback, name) for name in Feedback.__dataclass_fields__}


def is_known(connection: Connection, request_id: str) -> bool:
    """Whether there is an attempt of a request with this id."""
    statement = select(llm_usage_log.c.id).where(llm_usage_log.c.request_id == request_id).limit(1)
    return connection.execute(statement).first() is not None


def _rows(connection: Connection, request_id: str, workspace: str | None) -> tuple[UsageRecord, ...]:
    table = llm_usage_log.c
    statement = select(*llm_usage_log.columns).where(table.request_id == request_id)
    if workspace is not None:
        statement = statement.where(table.workspace_profile_id == workspace)
    ordered = statement.order_by(table.created_at, table.attempt, table.id)
    rows = tuple(UsageRecord(**row._mapping) for row in connection.execute(ordered))
    if not rows:
        raise _not_found()
    return rows


def _not_found() -> NotFound:
    return NotFound(
        "there is no request with this id; its rows may have been dropped after their time", code="request_not_found"
    )


def read_request(connection: Connection, request_id: str, workspace: str | None) -> RequestDetail:
    """`workspace`: the only one that is looked into; None: all. Raises NotFound.

    A ledger may hold two workspaces' rows under one id: of the receipt and the verdict there is one, of either.
    """
    rows = _rows(connection, request_id, workspace)
    row = connection.execute(select(*_SHOWN).where(_F.request_id == request_id)).one_or_none()
    receipt = receipt_in(connection, request_id)
    if workspace is not None and receipt is not None and receipt.facts.get("workspace") != workspace:
        receipt = None
    if workspace is not None and row is not None and row.workspace != workspace:
        row = None
    return RequestDetail(rows, receipt, None if row is None else Feedback(**row._mapping))


def write_feedback(
    connection: Connection, request_id: str, score: int, note: str | None, now: datetime, workspace: str | None
) -> Feedback:
    """Keep the verdict; a later one replaces it, but not another workspace's. Raises NotFound."""
    rows = _rows(connection, request_id, workspace)
    # The one that answered; where none did, the last that tried is what was judged.
    answered = next((row for row in rows if row.status == Status.OK), rows[-1])
    feedback = Feedback(
        request_id, answered.workspace_profile_id, answered.model, answered.task_type, score, note, to_text(now)
    )
    values = {**feedback_data(feedback), "requested_at": rows[0].created_at}
    replaced = {name: value for name, value in values.items() if name != "request_id"}
    own = None if workspace is None else _F.workspace == workspace
    statement = insert(request_feedback).values(**values)
    if connection.execute(statement.on_conflict_do_update(["request_id"], set_=replaced, where=own)).rowcount == 0:
        raise _not_found()
    return feedback


def verdicts_in(
    connection: Connection, start: datetime, end: datetime, workspace: str | None
) -> Mapping[tuple[str, str], Verdict]:
    """Scores by task type and model, of requests from `start` (inclusive) to `end`."""
    statement = (
        select(_F.task_type, _F.model, func.count(), func.avg(_F.score))
        .where(_F.requested_at >= to_bound(start), _F.requested_at < to_bound(end))
        .group_by(_F.task_type, _F.model)
    )
    if workspace is not None:
        statement = statement.where(_F.workspace == workspace)
    return {(task, model): Verdict(count, mean) for task, model, count, mean in connection.execute(statement)}


_SHOWN = tuple(_F[name] for name in Feedback.__dataclass_fields__)
