"""`llm-sidecar token`: the token that clients must send, for curl."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.common import CliError, ExitCode, JsonOption, print_json, read_settings, read_token


def register(app: typer.Typer) -> None:
    app.command("token")(token)


def token(
    path: Annotated[bool, typer.Option("--path", help="Print where the token is kept instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the token that clients must send.

    Example: `curl -H "Authorization: Bearer $(llm-sidecar token)" http://127.0.0.1:8765/api/v1/models`. It is
    SIDECAR_TOKEN where that is set, else the one of the data folder, made at the sidecar's first start.
    """
    settings = read_settings()
    if path:
        print_json({"path": str(settings.token_path)}) if as_json else print(settings.token_path)
        return
    found = read_token(settings)
    if found is None:
        raise CliError(
            f"there is no token in {settings.data_dir} yet: the sidecar makes it at its first start "
            "(`llm-sidecar serve`)",
            ExitCode.NOT_RUNNING,
        )
    print_json({"token": found}) if as_json else print(found)
