"""`llm-sidecar restore FILE`: a backup put back, while no sidecar runs on the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.common import CliError, JsonOption, print_json, read_settings


def register(app: typer.Typer) -> None:
    app.command("restore")(restore)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A zip that `llm-sidecar backup` wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Put a backup's files in place of the data folder's. Stop the sidecar first: it holds the folder.

    Every file is checked before anything is moved; what was there goes to `before-restore-…` in the data folder.
    """
    from datetime import UTC, datetime

    from app.process import lock_data_folder, private_files
    from app.store.backup import BackupError
    from app.store.backup import restore as put_back

    folder = read_settings().data_dir
    try:
        with private_files(), lock_data_folder(folder):
            made, earlier = put_back(file, folder, datetime.now(UTC))
    except BackupError as error:
        raise CliError(str(error)) from None
    if as_json:
        print_json({"folder": str(folder), "made_at": made.made_at, "earlier": str(earlier) if earlier else None})
        return
    print(f"{folder} is as it was at {made.made_at}")
    if earlier is not None:
        print(f"what was there before is in {earlier}")
