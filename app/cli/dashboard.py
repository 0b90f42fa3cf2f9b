"""`llm-sidecar dashboard`: open the page in the browser, by a link that works once."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.common import JsonOption, print_json, read_settings


def register(app: typer.Typer) -> None:
    app.command("dashboard")(dashboard)


def dashboard(
    only_print: Annotated[bool, typer.Option("--print", help="Print the link and open no browser.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Open the dashboard in your browser.

    The link works once, within two minutes; the browser then stays signed in until the sidecar ends, or for 12 hours
    without use.
    """
    from app.cli.client import Sidecar

    with Sidecar(read_settings()) as sidecar:
        made = sidecar.post("/api/v1/dashboard/link", {})
        link = f"{sidecar.url}{made['path']}"
    if as_json:
        print_json({"url": link, "expires_in_seconds": made["expires_in_seconds"]})
        return
    if only_print:
        print(link)
        return
    if _open(link):
        print("The dashboard opens in your browser.")
    else:
        print(f"No browser could be opened here. Open this link yourself, within two minutes:\n{link}")


def _open(link: str) -> bool:
    import webbrowser

    try:
        return webbrowser.open(link)
    except webbrowser.Error:
        return False
