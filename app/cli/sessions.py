"""`llm-sidecar sessions`: the stored conversations that `chat --session` goes on with."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli.common import CliError, ExitCode, JsonOption, listing_group, print_json, read_at_most, read_settings

PATH = "/api/v1/sessions"
MOST_BYTES = 64_000_000
PER_REQUEST = 500
"""Messages of an import sent at once: well below the sidecar's limit of a body."""

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]
WorkspaceOption = Annotated[str | None, typer.Option("--workspace", "-w", help="Profile the session belongs to.")]
TitleOption = Annotated[str | None, typer.Option("--title", help="Else the beginning of the first question.")]


def register(app: typer.Typer) -> None:
    group = listing_group(
        lambda as_json: list_sessions(as_json=as_json), "Stored conversations, for `chat --session ID`."
    )
    group.command("create")(create)
    group.command("list")(list_sessions)
    group.command("show")(show)
    group.command("delete")(delete)
    group.command("import")(import_session)
    app.add_typer(group, name="sessions")


def create(
    session: Annotated[str | None, typer.Argument(metavar="[ID]", help="Made when absent.")] = None,
    workspace: WorkspaceOption = None,
    title: TitleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a session; prints its id."""
    from app.cli.client import Sidecar

    given = {"id": session, "workspace": workspace, "title": title}
    with Sidecar(read_settings()) as sidecar:
        made = sidecar.post(PATH, {name: value for name, value in given.items() if value is not None})
    if as_json:
        print_json(made)
    else:
        print(made["id"])


def list_sessions(
    workspace: WorkspaceOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List sessions, the latest used first."""
    from app.cli.client import Sidecar
    from app.cli.output import Column, note, number, table
    from app.cli.show import rows_of, text_of

    params = {"limit": str(limit), **({"workspace": workspace} if workspace else {})}
    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.get(PATH, params)
    if as_json:
        print_json(answer)
        return
    columns = [Column("id"), Column("workspace"), Column("messages", True), Column("last used"), Column("title")]
    rows = [
        [
            text_of(s.get("id")),
            text_of(s.get("workspace")) + (" (private)" if s.get("private") else ""),
            number(s.get("message_count")),
            text_of(s.get("updated_at"))[:16].replace("T", " "),
            text_of(s.get("title")),
        ]
        for s in rows_of(answer.get("sessions"))
    ]
    table(columns, rows)
    if answer.get("next_cursor"):
        note("there are more: raise --limit")


def show(
    session: IdArgument,
    last: Annotated[int, typer.Option("--last", "-n", min=1, max=1000, help="The newest so many messages.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show a session: its state, its summary and its newest messages."""
    from app.cli.client import Sidecar

    path = _path(session)
    with Sidecar(read_settings()) as sidecar:
        detail = sidecar.get(path)
        state = sidecar.get(f"{path}/state")
        params = {"before": str(detail["message_count"]), "limit": str(last)}
        messages = sidecar.get(f"{path}/messages", params)["messages"]
    if as_json:
        print_json({**detail, "state": state, "messages": messages})
        return
    _show(detail, state, messages)


def delete(session: IdArgument) -> None:
    """Delete a session with its messages, state and summaries; what it cost stays in the ledger."""
    from app.cli.client import Sidecar

    with Sidecar(read_settings()) as sidecar:
        sidecar.delete(_path(session))


def import_session(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON or JSON lines; `-` reads stdin.")],
    session: Annotated[str | None, typer.Option("--id", help="The session's id; made when absent.")] = None,
    workspace: WorkspaceOption = None,
    title: TitleOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store a conversation from elsewhere; prints the session's id.

    FILE holds a list of messages, one message a line, or an object with `messages` and perhaps `id`, `workspace` and
    `title`. A message has `role`, `content` and perhaps `created_at` (ISO 8601), in the order they were said.
    """
    from app.cli.client import Sidecar

    body = read_conversation(_read(file), file)
    given = {"id": session, "workspace": workspace, "title": title}
    body |= {name: value for name, value in given.items() if value is not None}
    messages = body.pop("messages")
    with Sidecar(read_settings()) as sidecar:
        made = sidecar.post(PATH, {**body, "messages": messages[:PER_REQUEST]})
        path = _path(made["id"])
        try:
            for at in range(PER_REQUEST, len(messages), PER_REQUEST):
                sidecar.post(f"{path}/messages", {"messages": messages[at : at + PER_REQUEST]})
        except BaseException:
            sidecar.delete(path)  # all of it or nothing
            raise
        made = sidecar.get(path)
    if as_json:
        print_json(made)
    else:
        print(made["id"])


def read_conversation(text: str, name: str) -> dict[str, Any]:
    """The body of an import, `messages` always in it. Raises `CliError` that says what was expected."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise CliError(f"{name}: nested too deeply to be messages", ExitCode.USAGE) from None
    except ValueError:
        value = _lines(text, name)
    if isinstance(value, Mapping) and "role" in value:
        value = [value]  # JSON lines of one line
    if isinstance(value, list):
        value = {"messages": value}
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
        raise CliError(f"{name}: expected a list of messages, or an object with `messages`", ExitCode.USAGE)
    return {key: value[key] for key in ("id", "workspace", "title", "messages") if value.get(key) is not None}


def _lines(text: str, name: str) -> list[Any]:
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise CliError(f"{name}:{number}: neither JSON nor JSON lines: {error}", ExitCode.USAGE) from None
    return found


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read(MOST_BYTES + 1) if file == "-" else read_at_most(Path(file), MOST_BYTES)
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror or type(error).__name__}", ExitCode.USAGE) from None
    if len(data) > MOST_BYTES:
        raise CliError(f"{file} is larger than {MOST_BYTES:,} bytes", ExitCode.USAGE)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CliError(f"{file} is not UTF-8 text", ExitCode.USAGE) from None


def _path(session: str) -> str:
    """An id as one step of a path, whatever is in it."""
    return f"{PATH}/{quote(session, safe='')}"


def _show(detail: Mapping[str, Any], state: Mapping[str, Any], messages: list[Mapping[str, Any]]) -> None:
    from app.cli.output import note, safe_for

    private = ", private" if detail.get("private") else ""
    note(f"{detail.get('id')}: {detail.get('message_count')} messages, workspace {detail.get('workspace')}{private}")
    for name, value in state.items():
        note(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    if summary := detail.get("summary"):
        note(f"summary of messages {summary.get('from_seq')} to {summary.get('to_seq')}: {summary.get('text')}")
    for message in messages:
        cut = " (cut)" if message.get("partial") else ""
        print(safe_for(sys.stdout, f"{message.get('role')}{cut}: {_words(message)}"), flush=True)


def _words(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    texts = [content] if isinstance(content, str) else [str(p.get("text", "[image]")) for p in content or ()]
    calls = [f"[calls {call.get('function', {}).get('name')}]" for call in message.get("tool_calls") or ()]
    return " ".join([*texts, *calls])
