"""`llm-sidecar agents`: which there are, when each is due, what became of its runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli.common import JsonOption, listing_group, print_json, read_settings
from app.cli.trigger import DryOption, InputOption, NameArgument, NoWaitOption, WorkspaceOption
from app.cli.watching import RUNS, print_result, progress_text, run_agent, watch

PATH = "/api/v1/agents"
Row = Mapping[str, Any]

FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run is over.")]
LastOption = Annotated[int, typer.Option("--last", "-n", min=1, max=1000, help="The latest so many runs.")]


def register(app: typer.Typer) -> None:
    group = listing_group(list_agents, "Scheduled agents: what they do, when, and how it went.")
    group.command("list")(list_agents)
    group.command("run")(run)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("next")(next_due)
    group.command("logs")(logs)
    group.command("cancel")(cancel)
    app.add_typer(group, name="agents")


def list_agents(as_json: JsonOption = False) -> None:
    """List the agents: schedule, next due time, last run, and what each lacks."""
    from app.cli.client import Sidecar
    from app.cli.output import Column, note, table
    from app.cli.show import rows_of, text_of

    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.get(PATH)
    if as_json:
        print_json(answer)
        return
    columns = [Column(c) for c in ("agent", "status", "schedule", "workspace", "next", "last run")]
    found = rows_of(answer.get("agents"))
    rows = [
        [
            text_of(a.get("name")),
            text_of(a.get("status")),
            _schedule(a),
            text_of(a.get("workspace")),
            moment(a.get("next_due")),
            _last(a.get("latest")),
        ]
        for a in found
    ]
    table(columns, rows)
    for agent in found:
        if agent.get("paused_because"):
            note(f"{agent.get('name')}: paused: {agent.get('paused_because')}")
        for lack in rows_of(agent.get("lacks")) if agent.get("configured") else ():
            note(f"{agent.get('name')}: lacks {lack.get('what')}; {lack.get('remedy')}")


def _schedule(agent: Row) -> str:
    schedule = agent.get("schedule") or ""
    return f"{schedule} (off)" if schedule and not agent.get("enabled") else str(schedule)


def run(
    agent: NameArgument,
    workspace: WorkspaceOption = None,
    given: InputOption = None,
    dry_run: DryOption = False,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run an agent now; the same as `llm-sidecar trigger`."""
    run_agent(agent, workspace=workspace, given=given or [], dry_run=dry_run, wait=not no_wait, as_json=as_json)


def pause(agent: NameArgument, as_json: JsonOption = False) -> None:
    """Let its schedule rest, also over restarts; it can still be triggered."""
    _change(agent, "pause", as_json)


def resume(agent: NameArgument, as_json: JsonOption = False) -> None:
    """Let its schedule go on from now; what was due meanwhile is not made up for."""
    _change(agent, "resume", as_json)


def _change(agent: str, what: str, as_json: bool) -> None:
    from app.cli.client import Sidecar

    with Sidecar(read_settings()) as sidecar:
        found = sidecar.post(f"{_path(agent)}/{what}", {})
    if as_json:
        print_json(found)
    else:
        due = found.get("next_due")
        print(f"{agent}: {found.get('status')}" + (f", next due {moment(due)}" if due else ""))


def next_due(
    agent: Annotated[str | None, typer.Argument(metavar="[AGENT]", help="Else all of them.")] = None,
    as_json: JsonOption = False,
) -> None:
    """When an agent is due the next five times; without a name, when each is due next. In this machine's time."""
    from app.cli.client import Sidecar
    from app.cli.output import Column, table
    from app.cli.show import rows_of, text_of

    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.get(_path(agent) if agent else PATH)
    if agent:
        due = [{"agent": agent, "due": one} for one in answer.get("upcoming") or ()]
    else:
        found = [a for a in rows_of(answer.get("agents")) if a.get("next_due")]
        due = [{"agent": a.get("name"), "due": a.get("next_due")} for a in found]
        due.sort(key=lambda one: str(one["due"]))
    if as_json:
        print_json({"due": due})
        return
    table([Column("due"), Column("agent")], [[moment(one["due"]), text_of(one["agent"])] for one in due])


def logs(
    agent: NameArgument,
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's id; else the latest run.")] = None,
    last: LastOption = 10,
    follow: FollowOption = False,
    as_json: JsonOption = False,
) -> None:
    """List an agent's latest runs and show what the last one said; with RUN, that one."""
    from app.cli.client import Sidecar
    from app.cli.show import rows_of

    with Sidecar(read_settings()) as sidecar:
        page = sidecar.get(f"{_path(agent)}/runs", {"limit": str(last)})
        runs = rows_of(page.get("runs"))
        shown = run_id or next((r.get("run_id") for r in runs if r.get("started_at")), None)
        if shown and follow:
            watch(sidecar, str(shown))
        detail = sidecar.get(f"{RUNS}/{quote(str(shown), safe='')}") if shown else None
    if as_json:
        print_json({"runs": runs, "run": detail})
        return
    if run_id is None:
        _run_table(runs)
    if detail is not None:
        _show(detail, blank=run_id is None)


def cancel(run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]) -> None:
    """End a run that is due or running."""
    from app.cli.client import Sidecar

    with Sidecar(read_settings()) as sidecar:
        print(sidecar.post(f"{RUNS}/{quote(run_id, safe='')}/cancel", {})["state"])


def _run_table(runs: list[Row]) -> None:
    from app.cli.output import Column, table
    from app.cli.show import text_of

    columns = [Column(c) for c in ("run", "state", "cause", "due", "began", "took", "reason")]
    rows = [
        [
            text_of(r.get("run_id")),
            text_of(r.get("state")) + (" (dry run)" if r.get("dry_run") else ""),
            text_of(r.get("cause")),
            moment(r.get("scheduled_at")),
            moment(r.get("started_at")),
            took(r),
            text_of(r.get("error_message"))[:80],
        ]
        for r in runs
    ]
    table(columns, rows)


def _show(detail: Row, blank: bool) -> None:
    from app.cli.output import safe_for
    from app.cli.show import rows_of

    if blank:
        print()
    for line in rows_of(detail.get("log")):
        level = "" if line.get("level") == "info" else f"{line.get('level')}: "
        print(safe_for(sys.stdout, f"{moment(line.get('at'))}  {level}{line.get('text')}"))
    progress = detail.get("progress")
    if isinstance(progress, Mapping) and detail.get("state") in ("due", "running"):
        print(safe_for(sys.stdout, f"now: {progress_text(progress)}"))
    if detail.get("finished_at"):
        print_result(detail)


def _last(run: Any) -> str:
    if not isinstance(run, Mapping):
        return ""
    when = run.get("finished_at") or run.get("started_at") or run.get("created_at")
    return f"{run.get('state')} {moment(when)}"


def moment(text: Any) -> str:
    """A stored time on this machine's wall, to the second."""
    if not isinstance(text, str):
        return ""
    from datetime import datetime

    try:
        return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return text


def took(run: Row) -> str:
    """How long a run that is over took."""
    from datetime import datetime

    from app.cli.output import milliseconds

    begin, end = run.get("started_at"), run.get("finished_at")
    if not isinstance(begin, str) or not isinstance(end, str):
        return ""
    return milliseconds((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() * 1000)


def _path(agent: str) -> str:
    return f"{PATH}/{quote(agent, safe='')}"
