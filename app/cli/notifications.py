"""`llm-sidecar notifications`: the inbox."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.common import CliError, ExitCode, JsonOption, listing_group, print_json, read_settings

PATH = "/api/v1/notifications"
Workspace = Annotated[str | None, typer.Option("--workspace", "-w", help="Of this workspace only.")]


def register(app: typer.Typer) -> None:
    group = listing_group(
        lambda as_json: list_notifications(as_json=as_json),
        "The inbox: what budgets, agents and the sidecar have to tell.",
    )
    group.command("list")(list_notifications)
    group.command("read")(read)
    group.command("archive")(archive)
    group.command("watch")(watch)
    app.add_typer(group, name="notifications")


def list_notifications(
    workspace: Workspace = None,
    unread: Annotated[bool, typer.Option("--unread", help="Those alone that nobody has read.")] = False,
    archived: Annotated[bool, typer.Option("--archived", help="Those that were put away.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most so many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List what is in the inbox, newest first."""
    from app.cli.client import Sidecar
    from app.cli.output import Column, note, table
    from app.cli.show import rows_of

    params = {"limit": str(limit), **({"workspace": workspace} if workspace else {})}
    params |= {name: "true" for name, wanted in (("unread", unread), ("archived", archived)) if wanted}
    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.get(PATH, params)
    if as_json:
        print_json(answer)
        return
    rows = rows_of(answer.get("notifications"))
    if not rows:
        note("nothing in the inbox")
        return
    columns = [Column("id"), Column("when"), Column(""), Column("workspace"), Column("what")]
    table(columns, [_row(row) for row in rows], title=f"Inbox, {answer.get('unread', 0)} unread")


def read(
    id: Annotated[str | None, typer.Argument(help="As `list` shows it.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    workspace: Workspace = None,
    as_json: JsonOption = False,
) -> None:
    """Show one in full and note that it was read; or note that all were."""
    from app.cli.client import Sidecar

    if (id is None) != everything:
        raise CliError("say either an id or --all", ExitCode.USAGE)
    with Sidecar(read_settings()) as sidecar:
        suffix = f"?workspace={workspace}" if workspace else ""
        answer = sidecar.post(f"{PATH}/read-all{suffix}" if id is None else f"{PATH}/{_id(id)}/read", {})
    if as_json:
        print_json(answer)
    elif id is None:
        print(f"{answer['read']} read")
    else:
        _print(answer)


def archive(id: Annotated[str, typer.Argument(help="As `list` shows it.")], as_json: JsonOption = False) -> None:
    """Put one away."""
    from app.cli.client import Sidecar

    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.post(f"{PATH}/{_id(id)}/archive", {})
    print_json(answer) if as_json else print("put away")


def watch(as_json: JsonOption = False) -> None:
    """Show what comes in, as it comes, until Ctrl-C."""
    from app.cli.client import Sidecar

    with Sidecar(read_settings()) as sidecar:
        for event in sidecar.watch(f"{PATH}/events"):
            if event.name == "notification":
                print_json(event.data) if as_json else _print(event.data)


def _id(text: str) -> str:
    if not text.isascii() or not text.isalnum():
        raise CliError(f"{text!r} is not an id of a notification", ExitCode.USAGE)
    return text


def _row(row: Any) -> list[str]:
    mark = "" if row.get("read_at") else "new"
    when = str(row["created_at"])[:16].replace("T", " ")
    return [str(row["id"]), when, mark, str(row["workspace"]), f"{row['severity']}: {row['title']}"]


def _print(row: Any) -> None:
    from app.cli.output import printable

    print(printable(f"{row['severity']}: {row['title']}"))
    if row.get("body"):
        print(printable(str(row["body"])))
    for link in row.get("links") or ():
        print(printable(f"  {link.get('title', '')} {link.get('url', '')}"))
