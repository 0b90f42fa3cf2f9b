"""`llm-sidecar secrets`: provider keys in the system's keyring. A key is never printed and never an argument."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Any

import typer

from app.cli.common import CliError, ExitCode, JsonOption, print_json, read_settings

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The key's variable, e.g. ANTHROPIC_API_KEY.")]

_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
_MOST_CHARACTERS = 10_000


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Keep provider keys in the system's keyring.")
    group.command("set")(set_key)
    group.command("list")(list_keys)
    group.command("delete")(delete_key)
    app.add_typer(group, name="secrets")


def set_key(name: NameArgument) -> None:
    """Store a key: asked for without showing it, or read from a pipe. The environment's key of that name still wins."""
    from app.config.secrets import MISS_SECONDS, SERVICE

    _checked(name)
    value = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.read(_MOST_CHARACTERS)
    if not value.strip():
        raise CliError("nothing was stored: the key is empty", ExitCode.USAGE)
    backend = _keyring(name)
    try:
        backend.set_password(SERVICE, name, value.strip())
    except Exception as error:
        raise _refused(name, error) from None
    print(f"{name} is in the keyring; a running sidecar finds it within {MISS_SECONDS:.0f} s")


def list_keys(as_json: JsonOption = False) -> None:
    """List the keys the configured models want, and where each is found: environment, keyring, or nowhere."""
    from app.cli.folder import config_folder, key_names, read_config, readable
    from app.cli.output import Column, table
    from app.config.secrets import Secrets

    wanted = key_names(read_config(readable(config_folder(read_settings()))))
    secrets = Secrets()
    found = {name: secrets.source(name) for name in wanted}
    if as_json:
        print_json({"keys": [{"name": n, "source": found[n], "models": list(m)} for n, m in wanted.items()]})
        return
    columns = [Column("key"), Column("found in"), Column("for")]
    table(columns, [[name, found[name] or "not set", ", ".join(models)] for name, models in wanted.items()])


def delete_key(name: NameArgument) -> None:
    """Remove a key from the keyring; the environment is left alone."""
    from app.config.secrets import SERVICE

    _checked(name)
    backend = _keyring(name)
    try:
        there = backend.get_password(SERVICE, name) is not None
        if there:
            backend.delete_password(SERVICE, name)
    except Exception as error:
        raise _refused(name, error) from None
    if not there:
        raise CliError(f"{name} is not in the keyring")
    print(f"{name} is no longer in the keyring")


def _checked(name: str) -> None:
    if not _NAME.fullmatch(name):
        # The name is not repeated: whoever mistakes the argument for the key must not see the key in a log.
        raise CliError("NAME must be a variable such as ANTHROPIC_API_KEY (A-Z, 0-9, _)", ExitCode.USAGE)


def _keyring(name: str) -> Any:
    """The system's first keyring that does not store plain text."""
    from app.config.secrets import system_keyrings

    try:
        backends = system_keyrings()
    except Exception as error:
        raise _refused(name, error) from None
    if not backends:
        raise CliError(
            f"this machine has no keyring that encrypts; put the key into the environment: export {name}=..."
        )
    return backends[0]


def _refused(name: str, error: Exception) -> CliError:
    """A keyring fails in whatever way its desktop does; its text may quote the key, so only the type is shown."""
    return CliError(
        f"the system's keyring refused ({type(error).__name__}); unlock it, or put the key into the environment: "
        f"export {name}=..."
    )
