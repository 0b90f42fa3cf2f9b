"""`llm-sidecar config`: where the configuration is, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common import CliError, ExitCode, JsonOption, print_json, read_settings, warn

if TYPE_CHECKING:
    from app.errors import ConfigProblem


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Where the configuration is, and what is wrong with it.")
    group.command("check")(check)
    group.command("path")(path)
    app.add_typer(group, name="config")


def check(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Folder to check, instead of the one that `config path` names."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print every problem of the YAML files, with file and line. Exit status 1 where there is one."""
    from app.cli.folder import folder_in_use, read_config, readable
    from app.errors import ConfigError

    if folder is not None and not folder.is_dir():
        raise CliError(f"there is no folder {folder}", ExitCode.USAGE)
    place = folder or readable(folder_in_use(read_settings()))
    problems: Sequence[ConfigProblem] = ()
    warnings: Sequence[str] = ()
    try:
        warnings = read_config(place).warnings
    except ConfigError as error:
        problems = error.problems
    if as_json:
        listed = [{"file": p.file, "line": p.line, "where": p.where, "message": p.message} for p in problems]
        print_json({"folder": str(place), "problems": listed, "warnings": list(warnings)})
    else:
        for problem in problems:
            print(problem)
        for warning in warnings:
            warn(f"note: {warning}")
        many = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        warn(f"{place}: {many}" if problems else f"{place}: all good")
    if problems:
        raise typer.Exit(ExitCode.FAILED)


def path(as_json: JsonOption = False) -> None:
    """Print the folder that the running sidecar reads, or that `serve` would; SIDECAR_CONFIG_DIR says another."""
    from app.cli.folder import folder_in_use

    found = folder_in_use(read_settings())
    if as_json:
        print_json({"path": str(found.path), "exists": not found.stock and found.path.is_dir()})
        return
    print(found.path)
    if found.stock:
        warn("not there yet: the first `llm-sidecar serve` fills it with the stock configuration")
