"""`llm-sidecar serve`: run the sidecar. Imports neither httpx nor rich: its start is waited for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.common import CliError, ExitCode, read_settings, warn

if TYPE_CHECKING:
    import asyncio

    from app.process import Parent
    from app.settings import Settings


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.", show_default="8765")
    ] = None,
    config_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of the YAML files.", show_default="your configuration folder, filled at first start"),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the database and the token.", show_default="your data folder")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
    exit_with_stdin: Annotated[
        bool,
        typer.Option("--exit-with-stdin", help="End when standard input ends: when the program that started it does."),
    ] = False,
    watch_pid: Annotated[int | None, typer.Option(min=1, help="End when this process has ended.")] = None,
) -> None:
    """Start the sidecar, and stop it with Ctrl-C.

    When it listens it prints one JSON line with its port on stdout; logs go to stderr. Every option but the last two
    may also stand in the environment: SIDECAR_HOST, SIDECAR_PORT, SIDECAR_CONFIG_DIR, SIDECAR_DATA_DIR,
    SIDECAR_LOG_LEVEL.

    Exit status: 0 ended when told to, 1 cannot start (the configuration, a file), 2 wrong usage, 69 the port is taken,
    75 another sidecar runs on the data folder.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise CliError(f"--config-dir: there is no folder {config_dir}", ExitCode.USAGE)
    from app.process import Parent

    settings = read_settings(host=host, port=port, config_dir=config_dir, data_dir=data_dir, log_level=log_level)
    raise typer.Exit(run(settings, Parent(watch_pid, exit_with_stdin)))


def run(settings: Settings, parent: Parent) -> int:
    """The sidecar on an event loop of its own, uvloop's where there is one, until it is told to stop."""
    import asyncio

    from app.errors import ConfigError, StartupError
    from app.main import serve as serve_app

    factory = _uvloop_factory()
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(serve_app(settings, parent=parent))
    except ConfigError as error:
        warn(f"the configuration cannot be used:\n{error.detail}\n`llm-sidecar config check` checks it again")
        return ExitCode.FAILED
    except StartupError as error:
        warn(error.detail)
        return error.exit_code


def _uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
