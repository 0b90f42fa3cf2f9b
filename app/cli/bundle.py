"""What `llm-sidecar doctor --bundle FILE` writes: enough to say what is wrong, nothing that is anybody's business.

    bundle.zip ── about.json      versions, platform, settings
               ── checks.json     what `doctor` finds, the running sidecar's /health among it
               ── database.json   schema, size, rows per table and per status: counts alone
               ── config/*.yaml   as they are, without keys, addresses of webhooks, and people's words
               ── log.txt         the last lines of the data folder's log

Every text passes the redactor, which also knows the token and the provider keys of this machine.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import sys
import zipfile
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import yaml

from app import __version__
from app.api.logs import LOG_FILE
from app.cli.common import CliError, read_token
from app.cli.folder import config_folder, key_names, read_config, readable
from app.config import yamlfile
from app.config.redact import MASK, Redactor
from app.config.secrets import Secrets
from app.config.yamlfile import YamlRefused
from app.errors import ConfigError
from app.settings import Settings

LOG_LINES: Final = 500
_PACKAGES: Final = ("fastapi", "starlette", "uvicorn", "litellm", "lancedb", "onnxruntime", "sqlalchemy", "apscheduler")
_PRIVATE: Final = frozenset({"system_prompt", "url", "headers", "extra_headers", "api_key", "token"})
"""Keys of the YAML files whose values are somebody's words or somebody's access: a webhook's URL is one."""
_WORDS: Final = frozenset({"input", "settings"})
"""Of agents: prompts, topics, titles. What is no text in them is shown."""


def write_bundle(file: Path, settings: Settings, checks: list[dict[str, Any]]) -> None:
    """Raises `CliError` where the file exists or cannot be written."""
    redactor = known_secrets(settings)
    texts = {
        "about.json": _json(about(settings)),
        "checks.json": _json(checks),
        "database.json": _json(database_facts(settings.database_path)),
        "log.txt": last_lines(settings.data_dir / LOG_FILE),
        **{f"config/{name}": text for name, text in config_texts(readable(config_folder(settings))).items()},
    }
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "wb") as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, text in texts.items():
                packed.writestr(name, redactor.redact(text))
    except OSError as error:
        raise CliError(f"cannot write {file}: {error.strerror or error}") from None


def known_secrets(settings: Settings) -> Redactor:
    """A redactor that knows the token and every key the configuration asks for."""
    redactor = Redactor()
    if token := read_token(settings):
        redactor.add(token)
    # What the environment holds under a name that says so, whether the configuration asks for it or not.
    redactor.add(*(v for n, v in os.environ.items() if n.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD"))))
    try:
        names = key_names(read_config(readable(config_folder(settings))))
    except ConfigError:
        names = {}
    secrets = Secrets()
    redactor.add(*(value for name in names if (value := secrets.get(name))))
    return redactor


def about(settings: Settings) -> dict[str, Any]:
    """Versions, the platform, the settings (the token as set or not)."""
    told = settings.model_dump(mode="json", exclude={"token"}) | {"token": "set" if settings.token else None}
    return {
        "version": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "frozen": bool(getattr(sys, "frozen", False)),
        "packages": {name: _version(name) for name in _PACKAGES},
        "settings": told,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def database_facts(path: Path) -> dict[str, Any]:
    """Schema, sizes and counts; never a value of a row other than an attempt's status."""
    if not path.is_file():
        return {"exists": False}
    beside = {p.name: p.stat().st_size for p in sorted(path.parent.glob(f"{path.name}*")) if p.is_file()}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
            names = [n for (n,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            plain = [n for n in names if not n.startswith("sqlite_") and "fts" not in n and '"' not in n]
            return {
                "exists": True,
                "files": beside,
                "schema": [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")],
                "rows": {n: connection.execute(f'SELECT count(*) FROM "{n}"').fetchone()[0] for n in plain},
                "attempts": dict(connection.execute("SELECT status, count(*) FROM llm_usage_log GROUP BY status")),
            }
    except sqlite3.Error as error:
        return {"exists": True, "files": beside, "problem": str(error)}


def config_texts(folder: Path) -> dict[str, str]:
    """The YAML files by name, without what is private; one that cannot be read says so."""
    return {path.name: _without_private(path) for path in sorted(folder.glob("*.yaml"))}


def _without_private(path: Path) -> str:
    try:
        parsed = yamlfile.read(path).data  # bounded: what aliases unfold to, and how deep
    except (YamlRefused, FileNotFoundError) as error:
        # Not the text itself: what does not parse cannot be cleaned.
        return f"# cannot be read: {error}\n"
    return yaml.safe_dump(_cleaned(parsed), sort_keys=False, allow_unicode=True)


def _cleaned(value: Any, words: bool = False) -> Any:
    """`words`: every text in it is somebody's."""
    if isinstance(value, Mapping):
        return {k: MASK if k in _PRIVATE and v else _cleaned(v, words or k in _WORDS) for k, v in value.items()}
    if isinstance(value, list):
        return [_cleaned(v, words) for v in value]
    return MASK if words and isinstance(value, str) else value


def last_lines(path: Path) -> str:
    """The end of the log, the older file's too where the newer one is short."""
    lines: list[str] = []
    for source in (path.with_name(f"{path.name}.1"), path):
        try:
            lines += source.read_text("utf-8", "replace").splitlines(keepends=True)
        except OSError:
            continue
    return "".join(lines[-LOG_LINES:]) or "there is no log yet\n"


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)
