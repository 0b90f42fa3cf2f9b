"""Where the configuration is and which keys it asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.cli.common import CliError
from app.config.loader import REQUIRED_FILES, Config, load
from app.config.schema import ModelEntry, ModelsFile
from app.config.secrets import key_env_name
from app.config.stock import stock_dir
from app.settings import Settings

_KEYLESS = frozenset({"builtin", "embedded", "ollama", "ollama_chat"})


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder that `serve` would read. `stock`: the shipped one, which the first start copies to `path`."""

    path: Path
    stock: bool = False


def config_folder(settings: Settings) -> Folder:
    """As `app.config.stock.ensure_user_config`, without copying anything."""
    if settings.config_dir is not None:
        return Folder(settings.config_dir.expanduser())
    filled = all((settings.user_config_dir / name).exists() for name in REQUIRED_FILES)
    return Folder(settings.user_config_dir) if filled else Folder(settings.user_config_dir, stock=True)


def folder_in_use(settings: Settings) -> Folder:
    """SIDECAR_CONFIG_DIR, else the folder of the sidecar that runs, else the one that `serve` would read.

    `make run` reads ./config, which no variable of another terminal says.
    """
    if settings.config_dir is not None:
        return config_folder(settings)
    from app.cli.client import Sidecar

    try:
        with Sidecar(settings) as sidecar:
            return folder_of(sidecar.get("/api/v1/health")) or config_folder(settings)
    except CliError:
        return config_folder(settings)


def folder_of(health: object) -> Folder | None:
    """The configuration folder that a sidecar's health names."""
    parts = health.get("parts") if isinstance(health, Mapping) else None
    part = parts.get("config") if isinstance(parts, Mapping) else None
    named = Path(str(part.get("folder") or "")) if isinstance(part, Mapping) else Path()
    return Folder(named) if named.is_absolute() else None


def readable(folder: Folder) -> Path:
    """The path whose files can be read now."""
    return stock_dir() if folder.stock else folder.path


def read_config(path: Path) -> Config:
    """The configuration of a folder, checked as the sidecar checks it. Raises `ConfigError` with every problem."""
    from app.agents.cron import check_schedules
    from app.agents.registry import check_agents
    from app.routing.conditions import check_conditions
    from app.services.agents import OWN

    return load(path, [check_conditions, check_schedules, check_agents(OWN)])


def key_names(config: Config) -> dict[str, tuple[str, ...]]:
    """The variables that hold the keys of the configured models, each with the models that want it."""
    wanted: dict[str, list[str]] = {}
    for model in config.models.models:
        if (name := _key_name(model, config.models)) is not None:
            wanted.setdefault(name, []).append(model.id)
    return {name: tuple(models) for name, models in sorted(wanted.items())}


def _key_name(model: ModelEntry, models: ModelsFile) -> str | None:
    provider = provider_of(model.id)
    entry = models.providers.get(provider)
    named = model.api_key_env or (entry.api_key_env if entry else None)
    if named or provider in _KEYLESS:
        return named
    # A server with an address of its own (vLLM, LM Studio, ...) asks for a key only where one is named.
    return None if model.api_base or (entry and entry.api_base) else key_env_name(provider)


def provider_of(model_id: str) -> str:
    """The id's prefix, or what litellm's data says of a bare name."""
    from app.config.pricemap import load_price_map

    prefix, slash, _ = model_id.partition("/")
    return prefix if slash else str(load_price_map().get(model_id, {}).get("litellm_provider", "unknown"))


def ids_of(models: Iterable[ModelEntry], provider: str) -> tuple[ModelEntry, ...]:
    """The models of a provider."""
    return tuple(m for m in models if provider_of(m.id) == provider)
