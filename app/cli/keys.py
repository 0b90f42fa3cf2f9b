"""`llm-sidecar keys`: a key for each client, so that none needs the sidecar's own token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from app.cli.common import CliError, ExitCode, JsonOption, listing_group, print_json, read_settings

PATH = "/api/v1/keys"


def register(app: typer.Typer) -> None:
    group = listing_group(list_keys, "Keys for other programs: named, bound to a workspace, revocable.")
    group.command("create")(create)
    group.command("list")(list_keys)
    group.command("revoke")(revoke)
    app.add_typer(group, name="keys")


def create(
    name: Annotated[str, typer.Option("--name", "-n", help="What the client is called, such as `continue`.")],
    workspace: Annotated[str | None, typer.Option("--workspace", "-w", help="The only one the key acts in.")] = None,
    all_workspaces: Annotated[bool, typer.Option("--all-workspaces", help="Bind it to none.")] = False,
    rights: Annotated[str, typer.Option("--rights", help="chat, usage, admin; several with commas.")] = "chat",
    task_type: Annotated[str | None, typer.Option("--task-type", help="Of its requests that name none.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and print it: this once, because only its hash is kept.

    Example: `llm-sidecar keys create --workspace work --name continue`. A key acts in its workspace and in no other.
    """
    from app.cli.client import Sidecar
    from app.cli.output import note

    if (workspace is None) != all_workspaces:
        raise CliError("say either --workspace NAME or --all-workspaces", ExitCode.USAGE)
    wanted = [right.strip() for right in rights.split(",") if right.strip()]
    body = {"name": name, "workspace": workspace, "rights": wanted}
    with Sidecar(read_settings()) as sidecar:
        made = sidecar.post(PATH, {**body, **({"task_type": task_type} if task_type else {})})
    if as_json:
        print_json(made)
        return
    print(made["key"])
    note(f"keep it now: it is not shown again. Revoke it with `llm-sidecar keys revoke {made['id']}`")


def list_keys(as_json: JsonOption = False) -> None:
    """List the keys: whose, where, which rights, when last used. Never a key itself."""
    from app.cli.client import Sidecar
    from app.cli.output import Column, table
    from app.cli.show import rows_of, text_of

    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.get(PATH)
    if as_json:
        print_json(answer)
        return
    titles = ("id", "name", "workspace", "rights", "task type", "made", "last used", "revoked")
    rows = [
        [
            text_of(key.get("id")),
            text_of(key.get("name")),
            text_of(key.get("workspace")) or "(all)",
            ",".join(key.get("rights") or ()),
            text_of(key.get("task_type")),
            _minute(key, "created_at"),
            _minute(key, "last_used_at") or "never",
            _minute(key, "revoked_at"),
        ]
        for key in rows_of(answer.get("keys"))
    ]
    table([Column(title) for title in titles], rows)


def revoke(key: Annotated[str, typer.Argument(metavar="ID|NAME", help="As `keys list` shows it.")]) -> None:
    """Revoke a key: it opens nothing from now on."""
    from app.cli.client import Sidecar
    from app.cli.show import rows_of

    with Sidecar(read_settings()) as sidecar:
        live = [k for k in rows_of(sidecar.get(PATH).get("keys")) if not k.get("revoked_at")]
        found = next((k for k in live if key in (k.get("id"), k.get("name"))), None)
        if found is None:
            raise CliError(f"no key in use has the id or name `{key}`; see `llm-sidecar keys list`")
        sidecar.delete(f"{PATH}/{found['id']}")


def _minute(key: Mapping[str, Any], field: str) -> str:
    return str(key.get(field) or "")[:16].replace("T", " ")
