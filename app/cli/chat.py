"""`llm-sidecar chat`: ask, and see the answer as it is written. The answer goes to stdout, all about it to stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.common import CliError, print_json_line, read_settings
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

if TYPE_CHECKING:
    from app.cli.client import ServerEvent

PATH = "/api/v1/chat"


def register(app: typer.Typer) -> None:
    app.command("chat")(chat)


def chat(
    text: TextArgument = None,
    workspace: WorkspaceOption = None,
    task_type: TaskTypeOption = None,
    model: ModelOption = None,
    session: SessionOption = None,
    file: FileOption = None,
    retrieve: RetrieveOption = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Print the answer when it is whole.")] = False,
    context: Annotated[bool, typer.Option("--context", help="Show what the model was given, and what not.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every event as a line of JSON; with --no-stream, the one answer.")
    ] = False,
) -> None:
    """Ask a model and see its answer as it is written.

    Example: `llm-sidecar chat "why is this slow?" --file app/main.py:40`. Ctrl-C cancels the answer, also at the
    model's server.
    """
    from app.cli.client import Sidecar

    body = request_body(
        text, workspace=workspace, task_type=task_type, model=model, session=session, file=file, retrieve=retrieve
    )
    with Sidecar(read_settings()) as sidecar:
        if no_stream:
            _show_whole(sidecar.post(PATH, body | {"stream": False}), as_json, context)
            return
        screen = _Json() if as_json else _Screen(context)
        events = sidecar.stream(PATH, body)
        try:
            for event in events:
                screen.show(event)
        except KeyboardInterrupt:
            screen.interrupted()
            raise
        finally:
            events.close()
    screen.end()


class _Json:
    """Events as lines of JSON."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, event: ServerEvent) -> None:
        self._last = event.name
        print_json_line({"event": event.name, "id": event.id, "data": event.data})

    def interrupted(self) -> None:
        """Nothing: the exit status says it."""

    def end(self) -> None:
        if self._last == "error":
            raise typer.Exit(1)
        if self._last != "done":
            raise CliError("the stream ended without `done`")


class _Screen:
    """Tokens on stdout, the rest as notes on stderr; what a model thinks aloud is left to `--json`."""

    def __init__(self, context: bool) -> None:
        self._context = context
        self._at_line_start = True
        self._last = ""
        self._error: Mapping[str, Any] = {}

    def show(self, event: ServerEvent) -> None:
        from app.cli.output import note

        self._last = event.name
        data: Mapping[str, Any] = event.data if isinstance(event.data, Mapping) else {}
        if event.name == "token":
            self._write(str(data.get("text", "")))
        elif event.name == "error":
            self._error = data
        elif event.name == "context" and self._context:
            self._break_line()
            _show_context(data)
        elif (line := _LINES.get(event.name)) is not None:
            self._break_line()
            note(line(data))
            for warning in data.get("warnings") or ():
                note(f"note: {warning}")

    def interrupted(self) -> None:
        from app.cli.output import note

        self._break_line()
        note("cancelled")

    def end(self) -> None:
        from app.cli.client import problem_text

        self._break_line()
        if self._error:
            delivered = self._error.get("delivered_characters")
            cut = f"; the answer above is cut after {delivered} characters" if delivered else ""
            raise CliError(f"{problem_text(self._error) or 'no answer'}{cut}")
        if self._last != "done":
            raise CliError("the connection ended before the answer did")

    def _write(self, text: str) -> None:
        from app.cli.output import safe_for

        if text:
            sys.stdout.write(safe_for(sys.stdout, text))
            sys.stdout.flush()
            self._at_line_start = text.endswith("\n")

    def _break_line(self) -> None:
        if not self._at_line_start:
            self._write("\n")


def _show_whole(answer: Any, as_json: bool, context: bool) -> None:
    """The one JSON object of `stream: false`."""
    from app.cli.common import print_json
    from app.cli.output import note, safe_for

    if as_json:
        print_json(answer)
        return
    note(_route_line(answer.get("route") or {}))
    if context and answer.get("context"):
        _show_context(answer["context"])
    text = str(answer.get("text") or "")
    print(safe_for(sys.stdout, text), end="" if text.endswith("\n") else "\n", flush=True)
    note(_done_line(answer))
    for warning in answer.get("warnings") or ():
        note(f"note: {warning}")


def _route_line(data: Mapping[str, Any]) -> str:
    return f"rule {data.get('rule', '?')} -> {data.get('model', '?')} ({data.get('location', '?')})"


def _attempt_line(data: Mapping[str, Any]) -> str:
    wait = data.get("wait_seconds")
    then = "trying the next model" if data.get("outcome") == "falling_back" else "trying again"
    pause = f" in {wait:g} s" if isinstance(wait, int | float) and wait > 0 else ""
    return f"{data.get('model', '?')}: {data.get('reason', 'failed')}; {then}{pause}"


def _tool_line(data: Mapping[str, Any]) -> str:
    return f"tool call {data.get('name') or data.get('id') or ''} {data.get('arguments') or ''}".rstrip()


def _done_line(data: Mapping[str, Any]) -> str:
    from app.cli.output import dollars, milliseconds, number

    tokens = f"{number(data.get('input_tokens'))} + {number(data.get('output_tokens'))} tokens"
    cost = f"cost {dollars(data.get('cost_usd'))}"
    first = data.get("time_to_first_token_ms")
    took = milliseconds(data.get("latency_ms")) + (f", first token {milliseconds(first)}" if first is not None else "")
    finish = data.get("finish_reason")
    cut = "" if finish in (None, "stop") else f", ended by {finish}"
    queued = "" if data.get("ledger", "stored") == "stored" else ", usage row waiting to be written"
    return f"{data.get('model', '?')}, {tokens}, {cost}, {took}{cut}{queued}"


_LINES = {"route": _route_line, "attempt": _attempt_line, "tool_call": _tool_line, "done": _done_line}


def _show_context(data: Mapping[str, Any]) -> None:
    from app.cli.output import number
    from app.cli.show import context_table

    note_line = f"{number(data.get('input_tokens'))} of {number(data.get('window'))} tokens"
    context_table(data, f"context for {data.get('model', '?')}: {note_line}", out=sys.stderr)
