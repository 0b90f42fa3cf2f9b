"""`llm-sidecar explain`: what a request would do, and why; no model is called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.common import CliError, ExitCode, JsonOption, print_json, read_settings
from app.cli.request import (
    FileOption,
    ModelOption,
    RetrieveOption,
    SessionOption,
    TaskTypeOption,
    TextArgument,
    WorkspaceOption,
    request_body,
)

PATH = "/api/v1/explain"


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)


def explain(
    text: TextArgument = None,
    workspace: WorkspaceOption = None,
    task_type: TaskTypeOption = None,
    model: ModelOption = None,
    session: SessionOption = None,
    file: FileOption = None,
    retrieve: RetrieveOption = False,
    replay: Annotated[
        str | None,
        typer.Option(
            "--replay",
            metavar="RANGE",
            help="Logged requests under --rules: today, last-week, 7d, 2026-11-01 or a pair with `..`.",
        ),
    ] = None,
    rules: Annotated[Path | None, typer.Option("--rules", metavar="FILE", help="The routing.yaml to try.")] = None,
    messages: Annotated[bool, typer.Option("--messages", help="Print the messages that would be sent, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which model would be asked, and why; none is.

    Every rule's verdict, what the policy removed, and each candidate with its fit and cost. The decision is the one
    `chat` would make with the same words and options. With --replay, the same question about requests of the past
    and rules of the future: which models and dollars would change.
    """
    from app.cli.client import Sidecar

    if replay is not None or rules is not None:
        _replay(replay, rules, workspace, as_json)
        return
    body = request_body(
        text, workspace=workspace, task_type=task_type, model=model, session=session, file=file, retrieve=retrieve
    )
    if messages:
        body["include_messages"] = True
    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.post(PATH, body)
    if as_json:
        print_json(answer)
    else:
        _show(answer)


def _replay(range: str | None, rules: Path | None, workspace: str | None, as_json: bool) -> None:
    from app.cli.replay import replay

    if range is None or rules is None:
        raise CliError("--replay RANGE and --rules FILE go together", ExitCode.USAGE)
    replay(range, rules, workspace, as_json)


def _show(answer: Mapping[str, Any]) -> None:
    from app.cli.output import printable
    from app.cli.show import candidate_table, removed_table, rows_of, verdict_table

    route = answer.get("route")
    decided: Mapping[str, Any] = route if isinstance(route, Mapping) else {}
    print(f"rule: {decided.get('rule', '?')}")
    for reason in decided.get("reasons") or ():
        print(f"  {printable(str(reason))}")
    print()
    verdict_table(rows_of(decided.get("verdicts") or answer.get("verdicts")))
    print()
    if removed := rows_of(decided.get("removed") or answer.get("removed")):
        removed_table(removed)
        print()
    candidate_table(rows_of(answer.get("candidates")))
    _show_budget(answer.get("budget"))
    for warning in answer.get("warnings") or ():
        print(f"note: {printable(str(warning))}")
    for message in rows_of(answer.get("messages")):
        print(f"\n--- {message.get('role', '?')}")
        content = message.get("content")
        print(printable(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=1)))


def _show_budget(budget: Any) -> None:
    used = budget.get("used") if isinstance(budget, Mapping) else None
    if isinstance(used, int | float):
        print(f"\nbudget used: {used:.0%}")
