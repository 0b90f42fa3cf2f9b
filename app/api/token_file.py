"""The data folder's token: what the owner's own programs show at the door."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from app.errors import StartupError


def load_or_create_token(path: Path) -> str:
    """The data folder's token: 256 bits, made at first use, readable by its owner only.

    Written to a temporary file and renamed, so that nobody ever reads half a token. Raises `StartupError`.
    """
    try:
        token = path.read_text("ascii").strip()
    except FileNotFoundError:
        return _create_token(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"cannot read the token in {path}: {error}") from None
    if len(token) < 32:
        raise StartupError(f"{path} does not hold a token; delete it and start again")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return token


def _create_token(path: Path) -> str:
    token = secrets.token_urlsafe(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp makes it 0600 from the first moment.
        handle, name = tempfile.mkstemp(prefix=".token-", dir=path.parent)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError as error:
        raise StartupError(f"cannot write a token to {path}: {error}") from None
    return token
