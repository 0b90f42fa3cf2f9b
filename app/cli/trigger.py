"""`llm-sidecar trigger`: run an agent now, and see what it comes to."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.common import JsonOption

NameArgument = Annotated[str, typer.Argument(metavar="AGENT", help="Its name; `llm-sidecar agents list` has them.")]
WorkspaceOption = Annotated[str | None, typer.Option("--workspace", "-w", help="Profile it works under.")]
InputOption = Annotated[
    list[str] | None, typer.Option("--input", "-i", help="KEY=VALUE, again and again, or a JSON object.")
]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Do everything but store and notify.")]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Print the run's id and end.")]


def register(app: typer.Typer) -> None:
    app.command("trigger")(trigger)


def trigger(
    agent: NameArgument,
    workspace: WorkspaceOption = None,
    given: InputOption = None,
    dry_run: DryOption = False,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run an agent now and wait for its result, with a line that says where it stands.

    Ctrl-C ends the watching, not the run. Exit status 1 where the run does not end well.
    """
    from app.cli.watching import run_agent

    run_agent(agent, workspace=workspace, given=given or [], dry_run=dry_run, wait=not no_wait, as_json=as_json)
