"""Runs, schedules and states as SQL rows. Every function takes a connection and is one part of a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, and_, delete, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from app.agents.records import Cause, Outcome, Run, RunCost, ScheduleRecord, State
from app.store.tables import agent_runs, agent_schedules, agent_state, from_text, llm_usage_log, to_text

_T = agent_runs.c
_LISTED = [column for column in agent_runs.columns if column.name != "log"]


def _json(value: object) -> str:
    return orjson.dumps(value, default=str).decode()


def _moment(text: str | None) -> datetime | None:
    return from_text(text) if text is not None else None


def _text(moment: datetime | None) -> str | None:
    return to_text(moment) if moment is not None else None


# -- runs


def add(connection: Connection, runs: Iterable[Run]) -> list[str]:
    """Insert runs; one whose due time, Idempotency-Key or id has its row already is left alone. Returns the ids that
    are new."""
    added = []
    for run in runs:
        statement = insert(agent_runs).values(_values(run))
        result = connection.execute(statement.on_conflict_do_nothing())
        if result.rowcount:
            added.append(run.id)
    return added


def _values(run: Run) -> dict[str, Any]:
    return {
        "id": run.id, "agent": run.agent, "kind": run.kind, "workspace": run.workspace, "private": run.private,
        "scheduled_at": _text(run.scheduled_at), "cause": run.cause.value, "rerun_of": run.rerun_of,
        "state": run.state.value, "attempt": run.attempt, "dry_run": run.dry_run, "input": _json(dict(run.input)),
        "created_at": to_text(run.created_at), "started_at": _text(run.started_at),
        "finished_at": _text(run.finished_at), "error_code": run.error_code, "error_message": run.error_message,
        "idempotency_key": run.idempotency_key, "fingerprint": run.fingerprint,
    }  # fmt: skip


def start(connection: Connection, run_id: str, now: datetime, attempt: int) -> bool:
    """`due` (or a further try of a running one) becomes `running`; False where it is over by now."""
    statement = (
        update(agent_runs)
        .where(_T.id == run_id, _T.state.in_([State.DUE.value, State.RUNNING.value]))
        .values(
            state=State.RUNNING.value, started_at=func.coalesce(_T.started_at, to_text(now)), attempt=attempt,
        )
    )  # fmt: skip
    return connection.execute(statement).rowcount == 1


def finish(
    connection: Connection,
    run_id: str,
    outcome: Outcome,
    progress: Mapping[str, Any] | None,
    lines: Sequence[Mapping[str, Any]],
    private: bool,
) -> bool:
    """The run's end, once; False where it had ended already."""
    values: dict[str, Any] = {
        "state": outcome.state.value, "finished_at": to_text(outcome.finished_at), "summary": outcome.summary,
        "error_code": outcome.error_code, "error_message": outcome.error_message,
        "result": _json({"data": outcome.data, "stored": outcome.stored, "withheld": outcome.withheld}),
        "progress": _json(progress) if progress else None, "log": _json(lines),
    }  # fmt: skip
    if private:
        values["private"] = True
    open_states = [State.DUE.value, State.RUNNING.value]
    statement = update(agent_runs).where(_T.id == run_id, _T.state.in_(open_states)).values(**values)
    return connection.execute(statement).rowcount == 1


def note(
    connection: Connection,
    run_id: str,
    progress: Mapping[str, Any] | None,
    lines: Sequence[Mapping[str, Any]],
    private: bool,
) -> None:
    """Keep what a running run has said so far; `private`: it has read something private by now."""
    values: dict[str, Any] = {"progress": _json(progress) if progress else None, "log": _json(lines)}
    if private:
        values["private"] = True
    connection.execute(update(agent_runs).where(_T.id == run_id, _T.state == State.RUNNING.value).values(**values))


def get(connection: Connection, run_id: str) -> Run | None:
    row = connection.execute(select(*_LISTED).where(_T.id == run_id)).first()
    return _run(row) if row is not None else None


def get_log(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    text = connection.execute(select(_T.log).where(_T.id == run_id)).scalar()
    return list(orjson.loads(text)) if text else []


def by_key(connection: Connection, key: str) -> Run | None:
    row = connection.execute(select(*_LISTED).where(_T.idempotency_key == key)).first()
    return _run(row) if row is not None else None


def page(
    connection: Connection, agent: str | None, state: str | None, limit: int, before: tuple[str, str] | None
) -> list[Run]:
    """The latest first; `before` is (created_at, id) of the last one of the page before."""
    conditions = [_T.agent == agent] if agent is not None else []
    if state is not None:
        conditions.append(_T.state == state)
    if before is not None:
        moment, run_id = before
        conditions.append(or_(_T.created_at < moment, and_(_T.created_at == moment, _T.id < run_id)))
    statement = select(*_LISTED).where(*conditions).order_by(_T.created_at.desc(), _T.id.desc()).limit(limit)
    return [_run(row) for row in connection.execute(statement)]


def latest(connection: Connection, agents: Sequence[str]) -> dict[str, Run]:
    """The latest run of each agent that has one."""
    found = ((agent, page(connection, agent, None, 1, None)) for agent in agents)
    return {agent: runs[0] for agent, runs in found if runs}


def open_runs(connection: Connection) -> list[Run]:
    """Those that are due or running, the oldest first."""
    statement = select(*_LISTED).where(_T.state.in_([State.DUE.value, State.RUNNING.value])).order_by(_T.created_at)
    return [_run(row) for row in connection.execute(statement)]


def last_success(connection: Connection, agent: str, workspace: str) -> datetime | None:
    statement = select(func.max(_T.started_at)).where(
        _T.agent == agent, _T.workspace == workspace, _T.state == State.OK.value, _T.dry_run.is_(False)
    )
    return _moment(connection.execute(statement).scalar())


def remove_before(connection: Connection, moment: datetime) -> int:
    """Remove runs that ended before `moment`; returns how many."""
    over = [state.value for state in State if state.over]
    statement = delete(agent_runs).where(_T.created_at < to_text(moment), _T.state.in_(over))
    return connection.execute(statement).rowcount


def _run(row: Row[Any]) -> Run:
    result = orjson.loads(row.result) if row.result else {}
    return Run(
        id=row.id,
        agent=row.agent,
        kind=row.kind,
        workspace=row.workspace,
        private=bool(row.private),
        cause=Cause(row.cause),
        state=State(row.state),
        created_at=from_text(row.created_at),
        scheduled_at=_moment(row.scheduled_at),
        rerun_of=row.rerun_of,
        attempt=row.attempt,
        dry_run=bool(row.dry_run),
        input=orjson.loads(row.input),
        started_at=_moment(row.started_at),
        finished_at=_moment(row.finished_at),
        summary=row.summary,
        data=result.get("data", {}),
        stored=result.get("stored", []),
        withheld=result.get("withheld", []),
        error_code=row.error_code,
        error_message=row.error_message,
        progress=orjson.loads(row.progress) if row.progress else None,
        idempotency_key=row.idempotency_key,
        fingerprint=row.fingerprint,
    )


# -- what a run cost


def cost(connection: Connection, run_id: str) -> RunCost:
    """Of the requests whose ids begin with the run's."""
    t = llm_usage_log.c
    # A range and not LIKE: it goes by the index. "/" comes after "." in every collation SQLite has.
    mine = and_(t.request_id >= f"{run_id}.", t.request_id < f"{run_id}/")
    row = connection.execute(
        select(
            func.count(t.request_id.distinct()),
            func.coalesce(func.sum(t.input_tokens), 0),
            func.coalesce(func.sum(t.output_tokens), 0),
            func.sum(t.cost_micro_usd),
            func.sum(and_(t.cost_micro_usd.is_(None), t.status == "ok")),
        ).where(mine)
    ).one()
    models = connection.execute(select(t.model.distinct()).where(mine, t.status == "ok").order_by(t.model)).scalars()
    unknown = bool(row[4])
    return RunCost(tuple(models), row[0], row[1], row[2], None if unknown else int(row[3] or 0))


# -- schedules


def schedules(connection: Connection) -> dict[str, ScheduleRecord]:
    rows = connection.execute(select(agent_schedules)).all()
    return {
        row.agent: ScheduleRecord(
            row.agent,
            row.fingerprint,
            _moment(row.accounted_to),
            _moment(row.paused_at),
            row.paused_because,
            row.failures,
        )
        for row in rows
    }


def put_schedule(connection: Connection, record: ScheduleRecord) -> None:
    values = {
        "agent": record.agent, "fingerprint": record.fingerprint, "accounted_to": _text(record.accounted_to),
        "paused_at": _text(record.paused_at), "paused_because": record.paused_because, "failures": record.failures,
    }  # fmt: skip
    statement = insert(agent_schedules).values(values)
    changed = {name: statement.excluded[name] for name in values if name != "agent"}
    connection.execute(statement.on_conflict_do_update(index_elements=["agent"], set_=changed))


# -- state


def get_state(connection: Connection, agent: str, workspace: str) -> tuple[dict[str, Any], bool]:
    """(state, whether it is private)."""
    t = agent_state.c
    row = connection.execute(select(t.state, t.private).where(t.agent == agent, t.workspace == workspace)).first()
    return (dict(orjson.loads(row.state)), bool(row.private)) if row is not None else ({}, False)


def put_state(connection: Connection, agent: str, workspace: str, state: str, private: bool, now: datetime) -> None:
    """`state` is JSON text."""
    values = {
        "agent": agent, "workspace": workspace, "state": state, "private": private, "updated_at": to_text(now),
    }  # fmt: skip
    statement = insert(agent_state).values(values)
    changed = {name: statement.excluded[name] for name in ("state", "private", "updated_at")}
    connection.execute(statement.on_conflict_do_update(index_elements=["agent", "workspace"], set_=changed))
