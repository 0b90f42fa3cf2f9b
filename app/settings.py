"""Settings of the process: environment, folders. What the YAML files say is in `app.config`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

APP_NAME = "llm-sidecar"


def _split(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """A comma-separated list from the environment."""
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(p.strip() for p in parts if p.strip())


CommaList = Annotated[str | tuple[str, ...], NoDecode, AfterValidator(_split)]


class Settings(BaseSettings):
    """Read once at start-up from `SIDECAR_*`; every variable is listed in the README."""

    model_config = SettingsConfigDict(env_prefix="SIDECAR_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8765, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    config_dir: Path | None = Field(
        None, description="Folder of models.yaml, routing.yaml, profiles.yaml, agents.yaml."
    )
    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir(APP_NAME, appauthor=False)),
        description="Folder of the database and the token.",
    )
    token: SecretStr | None = Field(None, description="Token clients must send; else one is made per data folder.")
    log_level: str = Field(
        "info", pattern="(?i)^(debug|info|warning|error)$", description="Least level that is logged."
    )
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people or for programs.")
    allowed_hosts: CommaList = Field((), description="Host header values accepted besides the built-in ones.")
    allowed_origins: CommaList = Field((), description="Origins accepted besides the built-in ones.")
    max_streams: int = Field(128, ge=1, le=10_000, description="Open streams at once; more are answered 429.")

    @cached_property
    def user_config_dir(self) -> Path:
        """Where the stock configuration is copied at first start when `SIDECAR_CONFIG_DIR` is not set."""
        return Path(platformdirs.user_config_dir(APP_NAME, appauthor=False))

    @property
    def database_path(self) -> Path:
        return self.data_dir / "sidecar.db"

    @property
    def token_path(self) -> Path:
        return self.data_dir / "token"
