"""Which commands there are. Only the one that is called is imported: `serve` never pays for the others."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from app.cli.common import EXIT_CODES, CliError, ExitCode
from app.errors import SidecarError

PROGRAM = "llm-sidecar"
COMMANDS = (
    *("serve", "chat", "explain", "index", "search", "entities", "sessions", "models", "usage", "dashboard"),
    *("agents", "trigger", "budgets", "notifications"),
    *("config", "secrets", "token", "keys", "doctor", "backup", "restore", "openapi"),
)
"""In the order the help lists them; `app.cli.<name>` has a `register(app)`."""
_UNWRITABLE = (errno.ENOSPC, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; see `ExitCode`."""
    _open_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    called = next((a for a in given if not a.startswith("-")), None)
    try:
        build(COMMANDS if called not in COMMANDS else (called,))(given, prog_name=PROGRAM)
    except CliError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except SidecarError as error:
        print(f"{PROGRAM}: {error.detail}", file=sys.stderr, flush=True)
        return ExitCode.FAILED
    except UnicodeEncodeError:  # bytes of the command line that Python kept as halves of characters
        print(f"{PROGRAM}: what was given is not UTF-8 text", file=sys.stderr, flush=True)
        return ExitCode.USAGE
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        _give_up_stdout()
        print(f"{PROGRAM}: the output cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        return ExitCode.FAILED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _open_streams() -> None:
    """A stream that the caller closed swallows what is said; a character that stdout's encoding lacks is a `?`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _give_up_stdout() -> None:
    """What it still holds is not tried again when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def build(names: Sequence[str]) -> typer.Typer:
    """The application with these commands."""
    app = typer.Typer(
        name=PROGRAM,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EXIT_CODES,
    )
    app.callback()(_options)
    for name in names:
        import_module(f"app.cli.{name}").register(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from app import __version__

        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", help="Print the version and end.", is_eager=True, callback=_print_version
    ),
) -> None:
    """One local door to every language model. Start it with `serve`; the other commands ask the one that runs.

    They find it by SIDECAR_HOST and SIDECAR_PORT, and its token by SIDECAR_TOKEN or in the data folder
    (SIDECAR_DATA_DIR).
    """
