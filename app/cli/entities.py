"""`llm-sidecar entities`: what a workspace knows of, and how it hangs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli.common import CliError, ExitCode, JsonOption, print_json, read_settings
from app.cli.request import WorkspaceOption

PATH = "/api/v1/entities"
SHOWN_SUMMARY = 70

KindOption = Annotated[str | None, typer.Option("--kind", help="Of these kinds alone: class,function,file …")]
HopsOption = Annotated[int, typer.Option("--hops", min=0, max=2, help="Also what is so far from it.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="What a workspace knows of: symbols, files, people, concepts.")
    group.command("search")(search)
    group.command("show")(show)
    group.command("add")(add)
    group.command("extract")(extract)
    group.command("delete")(delete)
    app.add_typer(group, name="entities")


def search(
    query: Annotated[
        list[str] | None, typer.Argument(metavar="[QUERY]", help="A name or words; everything when absent.")
    ] = None,
    workspace: WorkspaceOption = None,
    kind: KindOption = None,
    hops: HopsOption = 0,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most so many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Find entities, best first; without QUERY the most mentioned.

    Example: `llm-sidecar entities search ModelRouter --hops 1`.
    """
    from app.cli.client import Sidecar
    from app.cli.output import note
    from app.cli.show import rows_of

    given = {"q": " ".join(query or []) or None, "workspace": workspace, "kind": kind}
    params = {name: value for name, value in given.items() if value is not None}
    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.get(PATH, {**params, "hops": str(hops), "limit": str(limit)})
    if as_json:
        print_json(answer)
        return
    _table(rows_of(answer.get("entities")))
    if not answer.get("entities"):
        note(f"workspace {answer.get('workspace')} knows of nothing like that; index a folder, or `entities add`")
    elif answer.get("next_cursor"):
        note("there are more: raise --limit, or say what to look for")


def show(
    entity: Annotated[str, typer.Argument(metavar="ID|NAME", help="An id, or a name.")],
    workspace: WorkspaceOption = None,
    hops: HopsOption = 1,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="At most so many neighbours.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Show an entity: who speaks of it, and what is around it."""
    from app.cli.client import Sidecar

    with Sidecar(read_settings()) as sidecar:
        identity = _identity(sidecar, entity, workspace)
        of = {"workspace": workspace} if workspace else {}
        answer = sidecar.get(f"{PATH}/{identity}", {**of, "hops": str(hops), "limit": str(limit)})
    if as_json:
        print_json(answer)
    else:
        _show(answer)


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    workspace: WorkspaceOption = None,
    kind: Annotated[str, typer.Option("--kind", help="concept, person, error, file …")] = "concept",
    summary: Annotated[str | None, typer.Option("--summary", help="What it is, in a sentence.")] = None,
    alias: Annotated[list[str] | None, typer.Option("--alias", help="Another name; may be repeated.")] = None,
    related: Annotated[
        list[str] | None,
        typer.Option("--related", metavar="[KIND=]NAME", help="Id or name of another entity; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Store an entity, or say more about one; prints its id.

    Example: `llm-sidecar entities add "gradient checkpointing" --summary "Compute for memory." --related uses=torch`.
    """
    from app.cli.client import Sidecar

    entity: dict[str, Any] = {"name": name, "kind": kind, "aliases": alias or []}
    if summary is not None:
        entity["summary"] = summary
    body: dict[str, Any] = {"entities": [entity], "relations": [_relation(name, kind, r) for r in related or []]}
    if workspace is not None:
        body["workspace"] = workspace
    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.post(PATH, body)
    if as_json:
        print_json(answer)
    else:
        print(answer["ids"][0])


def extract(
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="A text file; `-` or nothing reads stdin.")] = "-",
    workspace: WorkspaceOption = None,
    origin: Annotated[str | None, typer.Option("--origin", help="The text's name; else the file's path.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="By patterns alone, without asking a model.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be stored, and store nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find the entities a text names and store them. No cloud model ever reads it.

    Example: `llm-sidecar entities extract notes/monday.md`.
    """
    from app.cli.client import Sidecar
    from app.cli.output import note
    from app.cli.request import read_file, read_query
    from app.cli.show import rows_of

    text = read_query(["-"]) if file == "-" else read_file(file, said_as="")["text"]
    given = {"workspace": workspace, "origin": origin or (None if file == "-" else file)}
    body: dict[str, Any] = {"text": text, "use_model": not quick, "store": not dry_run}
    body |= {name: value for name, value in given.items() if value is not None}
    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.post(f"{PATH}/extract", body)
    if as_json:
        print_json(answer)
        return
    _table(rows_of(answer.get("entities")))
    for warning in answer.get("warnings") or ():
        note(str(warning))
    note(f"found by {', '.join(answer.get('by') or ['nothing'])}" + ("; nothing was stored" if dry_run else ""))


def delete(
    entity: Annotated[str, typer.Argument(metavar="ID|NAME", help="An id, or a name.")],
    workspace: WorkspaceOption = None,
) -> None:
    """Forget an entity with its relations; what code says of it comes back when its file is indexed again."""
    from app.cli.client import Sidecar

    with Sidecar(read_settings()) as sidecar:
        identity = _identity(sidecar, entity, workspace)
        sidecar.delete(f"{PATH}/{identity}" + (f"?workspace={quote(workspace, safe='')}" if workspace else ""))
    print(f"forgot {entity}")


def _identity(sidecar: Any, given: str, workspace: str | None) -> str:
    """The id of what is called so. Raises `CliError` where several kinds are."""
    if len(given) == 32 and all(c in "0123456789abcdef" for c in given):
        return given
    params = {"q": given, "limit": "20", **({"workspace": workspace} if workspace else {})}
    found = sidecar.get(PATH, params).get("entities") or []
    named = [e for e in found if str(e.get("name")).casefold() == given.casefold()] or found[:1]
    if not named:
        raise CliError(f"no entity is called {given!r}; see `llm-sidecar entities search`")
    if len(named) > 1:
        kinds = ", ".join(f"{e['id']} ({e['kind']})" for e in named)
        raise CliError(f"several are called {given!r}; say which by its id: {kinds}", ExitCode.USAGE)
    return quote(str(named[0]["id"]), safe="")


def _relation(name: str, kind: str, given: str) -> dict[str, Any]:
    how, equals, other = given.partition("=")
    if not equals:
        how, other = "related_to", given
    return {"from": {"name": name, "kind": kind}, "to": other, "kind": how}


def _table(entities: Sequence[Mapping[str, Any]]) -> None:
    from app.cli.output import Column, number, table
    from app.cli.show import text_of

    sought = any("hops" in e for e in entities)  # what a text names was not found from anywhere
    columns = [Column("name"), Column("kind"), *([Column("hops", True)] if sought else []), Column("mentions", True),
               Column("where"), Column("summary")]  # fmt: skip
    rows = [
        [
            text_of(e.get("name")) + (" (private)" if e.get("private") else ""),
            text_of(e.get("kind")),
            *([number(e.get("hops"))] if sought else []),
            number(e.get("mentions")),
            _place(e),
            _short(text_of(e.get("summary"))),
        ]
        for e in entities
    ]
    table(columns, rows)


def _place(entity: Mapping[str, Any]) -> str:
    path, line = entity.get("path"), entity.get("line")
    return "" if not path else f"{path}:{line}" if line else str(path)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_SUMMARY else line[: SHOWN_SUMMARY - 1] + "…"


def _show(entity: Mapping[str, Any]) -> None:
    from app.cli.output import printable
    from app.cli.show import rows_of

    private = "  (private: local models only)" if entity.get("private") else ""
    print(printable(f"{entity.get('name')}  {entity.get('kind')}  {entity.get('id')}{private}"))
    if aliases := entity.get("aliases"):
        print(printable(f"also called {', '.join(map(str, aliases))}"))
    if summary := entity.get("summary"):
        print(printable(str(summary)))
    for seen in rows_of(entity.get("sightings")):
        where = _place(seen) or seen.get("origin")
        print(printable(f"  {seen.get('source')}{f': {where}' if where else ''} ({seen.get('mentions')}×)"))
    neighbours = {str(e.get("id")): e for e in rows_of(entity.get("neighbours"))}
    names = {identity: str(e.get("name")) for identity, e in neighbours.items()}
    names[str(entity.get("id"))] = str(entity.get("name"))
    for relation in rows_of(entity.get("relations")):
        start, end = names.get(str(relation.get("from"))), names.get(str(relation.get("to")))
        if start and end:
            print(printable(f"  {start} —{relation.get('kind')}→ {end}"))
    if entity.get("truncated"):
        print("  … and more")
