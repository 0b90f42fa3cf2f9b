"""After a stop: what became of the runs it left open. Runs that were running become `interrupted`, and are made again
where the agent says that this is safe; those that never began are begun, if it is not too late."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.agents import run_rows
from app.agents.launching import Launcher
from app.agents.records import Cause, Outcome, Run, State
from app.agents.registry import Registered
from app.agents.runs import Runs
from app.errors import Conflict
from app.store.database import Database


class Recovery:
    """Used once, before the schedule goes on."""

    def __init__(self, database: Database, runs: Runs, launcher: Launcher) -> None:
        self._database = database
        self._runs = runs
        self._launcher = launcher

    async def recover(self, now: datetime) -> None:
        left = await self._database.read(run_rows.open_runs)
        again: list[tuple[Run, Registered]] = []
        for run in left:
            registered = self._launcher.known(run.agent)
            if run.state is State.RUNNING:
                message = "the sidecar stopped while it was running"
                await self._close(run, State.INTERRUPTED, now, "interrupted", message)
                agent = registered.agent if registered else None
                if registered and agent is not None and agent.rerun_is_safe and run.cause is not Cause.RERUN:
                    again.append((_rerun(run, now), registered))
            elif registered is not None and self._in_time(run, registered, now):
                again.append((run, registered))
            else:
                await self._close(run, State.MISSED, now, None, "the sidecar stopped before it began")
        for run, registered in again:
            await self._again(run, registered, now)

    async def _again(self, run: Run, registered: Registered, now: datetime) -> None:
        try:
            live = self._runs.reserve(run)
        except Conflict:
            await self._close(run, State.SKIPPED, now, "agent_running", "another run of it was begun first")
            return
        await self._database.write(lambda connection: run_rows.add(connection, [run]))
        self._launcher.launch(live, registered, 0.0)

    def _in_time(self, run: Run, registered: Registered, now: datetime) -> bool:
        return now - (run.scheduled_at or run.created_at) <= timedelta(seconds=registered.entry.grace_seconds)

    async def _close(self, run: Run, state: State, now: datetime, code: str | None, message: str) -> None:
        outcome = Outcome(state, now, error_code=code, error_message=message)

        def write(connection: Connection) -> None:
            progress, lines = run.progress, run_rows.get_log(connection, run.id)
            run_rows.finish(connection, run.id, outcome, progress, lines, False)

        await self._database.write(write)


def _rerun(run: Run, now: datetime) -> Run:
    return Run(
        id=uuid.uuid4().hex,
        agent=run.agent,
        kind=run.kind,
        workspace=run.workspace,
        private=run.private,
        cause=Cause.RERUN,
        state=State.DUE,
        created_at=now,
        rerun_of=run.id,
        dry_run=run.dry_run,
        input=run.input,
    )
