"""What every command shares: exit codes, the error that ends a command, settings, where the sidecar is."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from app.settings import Settings


class ExitCode(IntEnum):
    """What the process's exit status means. 130 is Ctrl-C, as everywhere; `serve` adds those of `StartupError`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    UNAUTHORIZED = 4


_ANY_ADDRESS = frozenset({"0.0.0.0", "::", ""})

EXIT_CODES = (
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 no sidecar is running, 4 the sidecar refused the token, "
    "130 interrupted."
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def listing_group(listing: Callable[[bool], None], about: str) -> typer.Typer:
    """A group of commands that lists where none of them is named; `listing` takes whether to print JSON."""
    group = typer.Typer(invoke_without_command=True)

    def list_or_go_on(context: typer.Context, as_json: JsonOption = False) -> None:
        if context.invoked_subcommand is None:
            listing(as_json)

    group.callback(help=f"{about} Alone it lists them.")(list_or_go_on)
    return group


class CliError(Exception):
    """Ends a command: one message for the person on stderr, with the remedy in it, and an exit status."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def read_settings(**given: object) -> Settings:
    """Settings from the environment, overridden by what the command line gave (None: not given).

    Raises `CliError` that names the variable, never its value: the token is one of them.
    """
    from pydantic import ValidationError

    from app.settings import Settings

    overrides: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = [_problem(str(p["loc"][0]) if p["loc"] else "settings", p["msg"], overrides) for p in error.errors()]
        raise CliError("\n".join(lines), ExitCode.USAGE) from None


def _problem(field: str, message: str, overrides: dict[str, Any]) -> str:
    name = f"--{field.replace('_', '-')}" if field in overrides else f"SIDECAR_{field.upper()}"
    return f"{name}: {message[:1].lower()}{message[1:]}"


def base_url(settings: Settings) -> str:
    """Where the sidecar of these settings listens. Raises `CliError` where the port is not known (0)."""
    if settings.port == 0:
        raise CliError(
            "SIDECAR_PORT is 0, so the sidecar chose a port itself: set SIDECAR_PORT to the one in its `ready` line",
            ExitCode.USAGE,
        )
    host = "127.0.0.1" if settings.host in _ANY_ADDRESS else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def read_token(settings: Settings) -> str | None:
    """SIDECAR_TOKEN, else the token of the data folder; None where the sidecar has not made one yet."""
    if settings.token is None:
        return _sendable(_read_token_file(settings.token_path), str(settings.token_path))
    return _sendable(settings.token.get_secret_value(), "SIDECAR_TOKEN")


def _sendable(token: str | None, place: str) -> str | None:
    """Raises `CliError` for what no header carries; `serve` takes no other token either."""
    if token is not None and not all("!" <= character <= "~" for character in token):
        raise CliError(f"{place} must be ASCII characters without spaces", ExitCode.USAGE)
    return token


def _read_token_file(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"the token file {path} cannot be read: {type(error).__name__}") from None


def read_at_most(path: Path, most: int) -> bytes:
    """A file's beginning, one byte more than `most` where it has more: also of a device, or of what grows meanwhile.
    Raises `OSError`."""
    with path.open("rb") as file:
        return file.read(most + 1)


def print_json(value: object) -> None:
    """Indented where a person reads, one line where a program does."""
    print_json_line(value, 2 if sys.stdout.isatty() else None)


def print_json_line(value: object, indent: int | None = None) -> None:
    """Every character in every encoding: a pipe of Windows has 256 of them, and JSON an escape for the others."""
    unicode = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    print(json.dumps(value, ensure_ascii=not unicode, indent=indent), flush=True)


def warn(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
