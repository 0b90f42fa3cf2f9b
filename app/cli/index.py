"""`llm-sidecar index`: folders whose files `search` and `chat --retrieve` find."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from app.cli.common import CliError, ExitCode, JsonOption, print_json, read_settings

if TYPE_CHECKING:
    from app.cli.client import ServerEvent, Sidecar

PATH = "/api/v1/index"
_DEFAULT = "add"
_REASONS = {
    "ignored": "ignored by .gitignore or as build output",
    "generated": "lock files and minified code",
    "secret": "keys and .env files",
    "too_large": "larger than 1 MB",
    "symlink": "links",
    "name_taken": "in a folder called like another one that is indexed",
}

WorkspaceOption = Annotated[str | None, typer.Option("--workspace", "-w", help="Profile whose index is meant.")]
FolderArgument = Annotated[str, typer.Argument(metavar="PATH", help="The folder.")]


def _absolute(path: str) -> str:
    """Of an empty one nothing: with a variable that is not set, the folder one is in would be indexed, or forgotten."""
    if not path:
        raise CliError("PATH is empty: name a folder, `.` for the one you are in", ExitCode.USAGE)
    return os.path.abspath(path)


class PathOrCommand(TyperGroup):
    """`index PATH` is `index add PATH`; a folder that is called like a command is `./list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        cls=PathOrCommand,
        no_args_is_help=True,
        help="Index folders, so that `search` and `chat --retrieve` find what their files say. "
        "`index PATH` is short for `index add PATH`.",
    )
    group.command(_DEFAULT)(add)
    group.command("list")(list_folders)
    group.command("stop")(stop)
    group.command("drop")(drop)
    app.add_typer(group, name="index")


def add(
    path: FolderArgument,
    workspace: WorkspaceOption = None,
    watch: Annotated[
        bool | None, typer.Option("--watch/--no-watch", help="Keep it current from now on, also after a restart.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not wait for the end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Index the folder PATH, or what changed in it since the last time.

    Left out: what a .gitignore says, version control, packages, build outputs, keys, binary files, links and files over
    1 MB. Ctrl-C ends the run; the next one goes on from there.
    """
    from app.cli.client import Sidecar

    body: dict[str, Any] = {"path": _absolute(path)}
    body |= {} if workspace is None else {"workspace": workspace}
    body |= {} if watch is None else {"watch": watch}
    with Sidecar(read_settings()) as sidecar:
        if detach:
            done = sidecar.post(PATH, {**body, "wait": False})
        else:
            done = _followed(sidecar, body, bar=not as_json and sys.stderr.isatty())
    if as_json:
        print_json(done)
    elif detach:
        print(
            f"indexing {done['path']} for workspace {done['workspace']}; `llm-sidecar index list` shows how far it is"
        )
    else:
        print(summary(done))
    if done.get("state") in ("failed", "cancelled"):
        raise CliError(f"indexing was {done['state']}")


def _followed(sidecar: Sidecar, body: dict[str, Any], *, bar: bool) -> dict[str, Any]:
    """The folder's status at the end. Ctrl-C ends the run."""
    events = sidecar.stream(PATH, body)
    try:
        return _with_bar(events) if bar else _drained(events)
    except KeyboardInterrupt:
        events.close()
        with suppress(CliError):
            sidecar.post(f"{PATH}/stop", {name: body[name] for name in ("path", "workspace") if name in body})
        print("stopped; what is indexed stays, and the next run goes on from there", file=sys.stderr)
        raise


def _drained(events: Generator[ServerEvent, None, None]) -> dict[str, Any]:
    for event in events:
        if (done := _end(event)) is not None:
            return done
    raise CliError("the connection to the sidecar ended before the folder was indexed")


def _end(event: ServerEvent) -> dict[str, Any] | None:
    from app.cli.client import problem_text

    if event.name == "error":
        raise CliError(problem_text(event.data) or "the folder could not be indexed")
    return dict(event.data) if event.name == "done" else None


def _with_bar(events: Generator[ServerEvent, None, None]) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (
        *(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("files")),
        TextColumn("{task.fields[beside]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("scanning", total=None, beside="")
        for event in events:
            if (done := _end(event)) is not None:
                return done
            now = event.data
            total = now.get("files_to_index")
            handled = now["files_seen"] if total is None else now["files_indexed"]
            shown.update(task, description=now["state"], total=total, completed=handled, beside=_beside(now))
    raise CliError("the connection to the sidecar ended before the folder was indexed")


def _beside(now: Mapping[str, Any]) -> str:
    parts = [f"{now['chunks']:,} chunks"]
    if now.get("rate"):
        parts.append(f"{now['rate']:.0f}/s")
    if now.get("eta_seconds") is not None:
        parts.append(f"{_duration(now['eta_seconds'])} left")
    return " · ".join(parts)


def summary(done: Mapping[str, Any]) -> str:
    """What a run did, in a few lines."""
    now = done.get("progress") or {}
    skipped = now.get("skipped") or {}
    first = (
        f"{_counted(now.get('files_indexed', 0), 'file')} indexed ({_counted(now.get('chunks', 0), 'chunk')}), "
        f"{now.get('files_unchanged', 0):,} unchanged, {now.get('files_removed', 0):,} removed "
        f"in {_duration(now.get('elapsed_seconds') or 0)}"
    )
    lines = [first]
    if skipped:
        lines.append("left out: " + ", ".join(f"{n:,} {_REASONS.get(why, why)}" for why, n in skipped.items()))
    if done.get("watch"):
        lines.append("watched: what is saved is searchable within seconds")
    return "\n".join(lines)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def list_folders(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the folders that are indexed, and how far running ones are."""
    from app.cli.client import Sidecar
    from app.cli.output import Column, table

    with Sidecar(read_settings()) as sidecar:
        found = sidecar.get(PATH, {"workspace": workspace} if workspace is not None else None)
    if as_json:
        print_json(found)
        return
    columns = [Column("workspace"), Column("folder"), Column("files", True), Column("watch"), Column("state")]
    rows = [
        [f["workspace"], f["path"], f"{f['files']:,}", "yes" if f["watch"] else "no", _state(f)]
        for f in found["folders"]
    ]
    table(columns, rows)


def _state(folder: Mapping[str, Any]) -> str:
    now = folder.get("progress") or {}
    if folder["state"] == "indexing" and now.get("files_to_index"):
        return f"indexing, {now['files_indexed']:,} of {now['files_to_index']:,} files"
    if folder["state"] == "failed":
        return f"failed: {folder.get('error')}"
    if folder["state"] in ("idle", "done"):
        return f"indexed {folder['indexed_at'][:16].replace('T', ' ')}" if folder.get("indexed_at") else "unfinished"
    return str(folder["state"])


def stop(path: FolderArgument, workspace: WorkspaceOption = None) -> None:
    """End the run over a folder and its watch; what is indexed stays, and the next run goes on from there."""
    from app.cli.client import Sidecar

    body = {"path": _absolute(path)} | ({} if workspace is None else {"workspace": workspace})
    with Sidecar(read_settings()) as sidecar:
        sidecar.post(f"{PATH}/stop", body)


def drop(
    path: Annotated[str | None, typer.Argument(metavar="[PATH]", help="The folder.")] = None,
    workspace: WorkspaceOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All of the workspace's index, also what front ends stored.")
    ] = False,
) -> None:
    """Forget a folder: its files are found no more. The files themselves are not touched."""
    from app.cli.client import Sidecar
    from app.cli.output import note

    if (path is None) is not everything:
        raise CliError("give either a folder or --all", ExitCode.USAGE)
    params = {"workspace": workspace, "path": _absolute(path) if path is not None else None}
    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.delete(PATH, {name: value for name, value in params.items() if value is not None})
    for dropped in answer["dropped"]:
        note(f"forgotten: {dropped}", dim=False)
