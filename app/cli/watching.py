"""A run, started and watched from the command line: a progress line that moves, then what it came to."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from app.cli.common import CliError, ExitCode, print_json, read_settings

if TYPE_CHECKING:
    from app.cli.client import Sidecar

Row = Mapping[str, Any]
RUNS = "/api/v1/runs"


def run_agent(
    name: str,
    *,
    workspace: str | None,
    given: Sequence[str],
    dry_run: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Trigger the agent; unless `wait` is False, watch it and print its result. Exit status 1 where it did not end
    well."""
    from app.cli.client import Sidecar

    body: dict[str, Any] = {"agent": name, "input": read_input(given), "dry_run": dry_run}
    if workspace is not None:
        body["workspace"] = workspace
    with Sidecar(read_settings()) as sidecar:
        started = sidecar.post("/api/v1/trigger", body)
        if not wait:
            print_json(started) if as_json else print(started["run_id"])
            return
        run = watch(sidecar, started["run_id"], quiet=as_json)
    if as_json:
        print_json(run)
    else:
        print_result(run)
    if run.get("state") != "ok":
        raise typer.Exit(ExitCode.FAILED)


def watch(sidecar: Sidecar, run_id: str, *, quiet: bool = False) -> Row:
    """The run once it is over; what it says meanwhile goes to stderr. Ctrl-C leaves the run going on."""
    from app.cli.output import note

    line = ProgressLine(quiet)
    try:
        for event in sidecar.watch(f"{RUNS}/{quote(run_id, safe='')}/events"):
            if event.name == "progress":
                line.show(event.data)
            elif event.name == "log" and event.data.get("level") in ("warning", "error"):
                line.clear()
                if not quiet:
                    note(f"{event.data['level']}: {event.data['text']}")
            elif event.name == "done":
                found: Row = event.data
                return found
            elif event.name == "error":
                raise CliError(str(event.data.get("detail")))
    except KeyboardInterrupt:
        line.clear()
        note(f"the run goes on; `llm-sidecar agents cancel {run_id}` ends it")
        raise
    finally:
        line.clear()
    raise CliError("the sidecar ended the stream without saying how the run ended")


class ProgressLine:
    """One line on stderr that is written over; where nobody sees it, nothing."""

    def __init__(self, quiet: bool) -> None:
        self._on = not quiet and sys.stderr.isatty()
        self._shown = False

    def show(self, progress: Row) -> None:
        if not self._on:
            return
        from app.cli.output import printable

        text = printable(progress_text(progress)).replace("\n", " ")
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[2K{text[:width]}", end="", file=sys.stderr, flush=True)
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self._shown = False


def progress_text(progress: Row) -> str:
    """`3/12 reading feeds`."""
    done, total = progress.get("done"), progress.get("total")
    count = "" if done is None else f"{done}/{total} " if total is not None else f"{done} "
    return f"{count}{progress.get('text') or ''}"


def print_result(run: Row) -> None:
    """What a run came to: the summary on stdout, the rest beside it."""
    from app.cli.output import dollars, note, safe_for

    if run.get("summary"):
        print(safe_for(sys.stdout, str(run["summary"])), flush=True)
    for held in run.get("withheld") or ():
        note(f"dry run: {held}")
    if run.get("state") != "ok":
        reason = run.get("error_message") or run.get("error_code") or ""
        note(f"{run.get('state')}: {reason}" if reason else str(run.get("state")), dim=False)
    models = ", ".join(run.get("models") or ())
    asked = f"; {models}, {dollars(run.get('cost_usd'))}" if models else ""
    note(f"run {run.get('run_id')}{asked}")


def read_input(given: Sequence[str]) -> dict[str, Any]:
    """`-i topic=llm -i count=3`, or one JSON object. A value that is JSON is taken as such, else as text."""
    found: dict[str, Any] = {}
    for part in given:
        if part.lstrip().startswith("{"):
            found |= _object(part)
            continue
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise CliError(f"--input {part!r}: expected KEY=VALUE or a JSON object", ExitCode.USAGE)
        found[key] = _value(value)
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise CliError(f"--input is not valid JSON: {error}", ExitCode.USAGE) from None
    return dict(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
