"""`llm-sidecar search`: what a workspace's indexed files say about something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from app.cli.common import CliError, ExitCode, JsonOption, print_json, read_settings
from app.cli.request import WorkspaceOption

PATH = "/api/v1/search"
SHOWN_LINES = 8


def register(app: typer.Typer) -> None:
    app.command("search")(search)


def search(
    query: Annotated[list[str], typer.Argument(metavar="QUERY", help="What to look for, in any words.")],
    workspace: WorkspaceOption = None,
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="Most pieces to show.")] = 5,
    full: Annotated[bool, typer.Option("--full", help=f"Show pieces whole, not {SHOWN_LINES} lines of each.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find the pieces of indexed files that bear most on QUERY, best first.

    Example: `llm-sidecar search "where is a retry decided?"`. Index a folder first: `llm-sidecar index PATH`.
    """
    from app.cli.client import Sidecar
    from app.cli.output import note

    words = " ".join(query)
    if not words.strip():
        raise CliError("there is nothing to look for: the text is empty", ExitCode.USAGE)
    body: dict[str, Any] = {"query": words, "k": k}
    if workspace is not None:
        body["workspace"] = workspace
    with Sidecar(read_settings()) as sidecar:
        answer = sidecar.post(PATH, body)
    if as_json:
        print_json(answer)
        return
    chunks = answer.get("chunks") or []
    for chunk in chunks:
        _show(chunk, full)
    if not chunks:
        note(f"nothing found in workspace {answer.get('workspace')}; is its folder indexed? (llm-sidecar index PATH)")
    elif answer.get("searched_by") == "words":
        note("searched by words alone: the embedding model is missing (llm-sidecar models fetch)")


def _show(chunk: Mapping[str, Any], full: bool) -> None:
    """`path:first-last  symbol`, then the text, set in by two spaces."""
    from app.cli.output import printable

    symbol = f"  {chunk.get('symbol')}" if chunk.get("symbol") else ""
    place = f"{chunk.get('path')}:{chunk.get('start_line')}-{chunk.get('end_line')}"
    lines = str(chunk.get("text") or "").rstrip("\n").split("\n")
    shown = lines if full else lines[:SHOWN_LINES]
    # A program that wants the text as it is takes --json: here no file may move the cursor.
    print(printable(f"{place}{symbol}"))
    for line in shown:
        print(f"  {printable(line.expandtabs(4))}".rstrip())
    if len(shown) < len(lines):
        print(f"  … {len(lines) - len(shown)} more lines")
    print(flush=True)
