"""The options that `chat` and `explain` share, and the body of `POST /api/v1/chat` they make."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.common import CliError, ExitCode, read_at_most

TextArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="What to ask; `-`, or nothing with a pipe, reads it from stdin."),
]
WorkspaceOption = Annotated[str | None, typer.Option("--workspace", "-w", help="Profile to work under.")]
TaskTypeOption = Annotated[
    str | None, typer.Option("--task-type", "-t", help="chat, debugging, refactoring, summarization, …")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Ask this model first; the workspace's policy still holds.")
]
SessionOption = Annotated[str | None, typer.Option("--session", "-s", help="Id of the session to go on with.")]
RetrieveOption = Annotated[bool, typer.Option("--retrieve", "-r", help="Also use what the workspace's index finds.")]
FileOption = Annotated[
    str | None,
    typer.Option("--file", "-f", metavar="PATH[:LINE]", help="File you are working on, and the line of the cursor."),
]

MOST_BYTES = 8_000_000
"""More than any model's window; the sidecar has its own limit."""


def request_body(
    text: Sequence[str] | None,
    *,
    workspace: str | None,
    task_type: str | None,
    model: str | None,
    session: str | None,
    file: str | None,
    retrieve: bool = False,
) -> dict[str, Any]:
    """Only what was given: the sidecar knows the defaults. Raises `CliError` for an empty query or unreadable file."""
    given = {"workspace": workspace, "task_type": task_type, "model": model, "session_id": session}
    body: dict[str, Any] = {"query": read_query(text)}
    body |= {name: value for name, value in given.items() if value is not None}
    if retrieve:
        body["retrieve"] = True
    if file is not None:
        body["context"] = {"file": read_file(file)}
    return body


def read_query(text: Sequence[str] | None) -> str:
    words = list(text or [])
    if words in ([], ["-"]):
        if not words and sys.stdin.isatty():
            raise CliError("say what to ask, for example: llm-sidecar chat 'what is a monad?'", ExitCode.USAGE)
        data = sys.stdin.buffer.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise CliError(f"what was piped in is longer than {MOST_BYTES:,} bytes", ExitCode.USAGE)
        query = data.decode("utf-8", "replace")
    else:
        query = " ".join(words)
    if not query.strip():
        raise CliError("there is nothing to ask: the text is empty", ExitCode.USAGE)
    return query


def read_file(given: str, said_as: str = "--file: ") -> dict[str, Any]:
    """`path`, `text` and, after the last colon, `line` (1-based) of `PATH[:LINE]`.

    `said_as` stands before what is wrong with it: the option, where it was one.
    """
    path, line = Path(given), None
    name, colon, number = given.rpartition(":")
    if colon and number.isdecimal() and not path.exists():
        path, line = Path(name), int(number)
    if line == 0:
        raise CliError(f"{said_as}lines count from 1, and {given!r} says 0", ExitCode.USAGE)
    try:
        data = read_at_most(path, MOST_BYTES)
    except OSError as error:
        raise CliError(
            f"{said_as}{path} cannot be read: {error.strerror or type(error).__name__}", ExitCode.USAGE
        ) from None
    if len(data) > MOST_BYTES or b"\0" in data[:8192]:
        raise CliError(f"{said_as}{path} is not a text file of at most {MOST_BYTES:,} bytes", ExitCode.USAGE)
    file: dict[str, Any] = {"path": str(path), "text": data.decode("utf-8", "replace")}
    return file if line is None else file | {"line": line}
