"""`llm-sidecar backup FILE`: the data folder in one file, while the sidecar runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.common import CliError, JsonOption, print_json, read_settings


def register(app: typer.Typer) -> None:
    app.command("backup")(backup)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The zip to write; it must not exist yet.")],
    as_json: JsonOption = False,
) -> None:
    """Copy database, index and calibration into one zip, also while the sidecar runs.

    The token and provider keys are not in it; conversations are, so only you may read the file.
    """
    from datetime import UTC, datetime

    from app.store.backup import BackupError, back_up

    try:
        made = back_up(read_settings().data_dir, file, datetime.now(UTC))
    except BackupError as error:
        raise CliError(str(error)) from None
    if as_json:
        print_json({"file": str(file), "schema": made.schema, "files": made.files, "bytes": made.bytes})
    else:
        print(f"{file}: {made.files} files, {made.bytes / 1e6:.1f} MB before compression, schema {made.schema}")
