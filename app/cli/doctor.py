"""`llm-sidecar doctor`: what is there, what is lacking, and what to do about each."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.cli.common import ExitCode, JsonOption, print_json, read_settings


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    as_json: JsonOption = False,
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a zip to send to somebody who helps: no secrets in it."),
    ] = None,
) -> None:
    """Say what is there, what is lacking, and what to do.

    Looks at configuration, data folder, sidecar, keys and model servers. Works with and without a running sidecar.
    Exit status 1 for an error; a warning alone is 0.
    """
    from app.cli.checks import Check, Level, examine
    from app.cli.output import printable

    def show(check: Check) -> None:
        sign = {Level.OK: "ok  ", Level.WARNING: "warn", Level.ERROR: "FAIL"}[check.level]
        print(f"{sign}  {check.name}: {printable(check.detail)}", flush=True)
        if check.remedy:
            print(f"      {printable(check.remedy)}", flush=True)

    found: list[Check] = []
    for check in examine(read_settings()):
        found.append(check)
        if not as_json:
            show(check)
    if bundle is not None:
        from app.cli.bundle import write_bundle

        write_bundle(bundle, read_settings(), [asdict(check) for check in found])
        if not as_json:
            print(f"{bundle} holds this, versions, counts, settings and the last log lines; no prompts, no keys")
    failed = any(check.level is Level.ERROR for check in found)
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in found]})
    if failed:
        raise typer.Exit(ExitCode.FAILED)
