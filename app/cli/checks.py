"""What `doctor` looks at. Each check is a value: what is there, what is lacking, what to do about it."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.cli.client import Sidecar
from app.cli.common import CliError, ExitCode, base_url, read_token
from app.cli.folder import Folder, config_folder, folder_of, ids_of, key_names, read_config, readable
from app.config.loader import Config
from app.config.secrets import Secrets
from app.errors import ConfigError
from app.llm.discovery import OLLAMA_DEFAULT, ServerEndpoint, ServerKind, ServerReport, discover
from app.memory.model_files import MINILM, default_folder, missing
from app.settings import Settings

_LARGER_WINDOW = re.compile(r"(.+)-(\d{1,4})k")


class Level(StrEnum):
    """ERROR: the sidecar cannot do its work. WARNING: something you may want is lacking."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `remedy` is what to do, empty where nothing is to be done."""

    name: str
    level: Level
    detail: str
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs (`--json`)."""


def examine(settings: Settings) -> Iterator[Check]:
    """Every check, in the order to read them; never raises."""
    running, sidecar_checks = check_sidecar(settings)
    config, check = check_configuration(running or config_folder(settings))
    yield check
    yield check_data_folder(settings.data_dir)
    yield from sidecar_checks
    if config is not None:
        yield from check_keys(config, Secrets())
        yield from check_servers(config)
        yield from check_embedded(config)
        yield from check_agents(config)
    yield check_embedding_model(default_folder())


def check_configuration(folder: Folder) -> tuple[Config | None, Check]:
    """The configuration, where it can be used, and what to say of it."""
    place = readable(folder)
    try:
        config = read_config(place)
    except ConfigError as error:
        many = "1 problem" if len(error.problems) == 1 else f"{len(error.problems)} problems"
        detail = f"{place}: {many}; the first: {error.problems[0]}"
        facts = {"folder": str(place), "problems": [str(p) for p in error.problems]}
        return None, Check("configuration", Level.ERROR, detail, "`llm-sidecar config check` lists them all", facts)
    count = f"{len(config.models.models)} models, {len(config.routing.rules)} rules"
    detail = (
        f"the stock one ({count}); the first start copies it to {folder.path}" if folder.stock else f"{place}, {count}"
    )
    return config, Check("configuration", Level.OK, detail, facts={"folder": str(place), "problems": []})


def check_data_folder(folder: Path) -> Check:
    """Whether the database can be written there; nothing is left behind."""
    existing = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    facts = {"folder": str(folder), "exists": folder.is_dir()}
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        remedy = f"make {existing} a folder you may write to, or set SIDECAR_DATA_DIR to another"
        return Check("data folder", Level.ERROR, f"{folder} cannot be written to", remedy, facts)
    later = "" if folder.is_dir() else ", made at the first start"
    return Check("data folder", Level.OK, f"{folder}{later}", facts=facts)


def check_sidecar(settings: Settings) -> tuple[Folder | None, list[Check]]:
    """Whether one runs where the settings say, and how each of its parts is; else whether the port is free.

    Also the configuration folder of the one that runs: it may have been started with another than the environment says.
    """
    try:
        url = base_url(settings)
        with Sidecar(settings) as sidecar:
            health = sidecar.get("/api/v1/health" if read_token(settings) else "/health")
    except CliError as error:
        return None, [_no_sidecar(settings, error)]
    parts = health.get("parts") if isinstance(health, Mapping) else None
    named: Mapping[str, Any] = parts if isinstance(parts, Mapping) else {}
    found = [Check("sidecar", Level.OK, f"runs at {url}", facts={"running": True, "url": url, "health": health})]
    found += [_part_check(name, part) for name, part in named.items() if part.get("status") not in ("ok", "starting")]
    return folder_of(health), found


def _part_check(name: str, part: Mapping[str, Any]) -> Check:
    """A part of the running sidecar that is not as it should be."""
    level = Level.ERROR if part.get("status") == "down" else Level.WARNING
    detail = f"{part.get('status')}: {part.get('reason', 'no reason given')}"
    return Check(f"sidecar's {name}", level, detail, str(part.get("remedy") or ""), part)


def _no_sidecar(settings: Settings, error: CliError) -> Check:
    facts = {"running": False, "port": settings.port}
    if error.exit_code is ExitCode.UNAUTHORIZED:
        return Check(
            "sidecar", Level.ERROR, "one runs, and it refuses this token", str(error), facts | {"running": True}
        )
    if error.exit_code is not ExitCode.NOT_RUNNING:
        return Check("sidecar", Level.ERROR, str(error), facts=facts)
    if (problem := _port_problem(settings.host, settings.port)) is not None:
        remedy = "end that program, or choose another port with SIDECAR_PORT"
        return Check("sidecar", Level.ERROR, f"port {settings.port} cannot be had: {problem}", remedy, facts)
    detail = f"not running; port {settings.port} is free"
    return Check("sidecar", Level.WARNING, detail, "start it with `llm-sidecar serve`", facts)


def _port_problem(host: str, port: int) -> str | None:
    """Why nothing could listen there, or None."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name != "nt":  # elsewhere it means what a server wants: a port in TIME_WAIT is free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def check_keys(config: Config, secrets: Secrets) -> Iterator[Check]:
    """Which provider keys are set; the names, never the keys."""
    for name, models in key_names(config).items():
        source = secrets.source(name)
        facts = {"key": name, "source": source, "models": list(models)}
        if source is not None:
            yield Check(f"key {name}", Level.OK, f"set in the {source}", facts=facts)
        else:
            remedy = f"`export {name}=...` before the start, or `llm-sidecar secrets set {name}`"
            yield Check(f"key {name}", Level.WARNING, f"not set, so no {', '.join(models)}", remedy, facts)


def check_servers(config: Config) -> Iterator[Check]:
    """Whether each Ollama server answers, and which of its configured models it has.

    Asked through the sidecar's own transport under its local-only policy: an address outside is refused, not asked.
    """
    endpoints = ollama_endpoints(config)
    for endpoint, report in zip(endpoints, _ask(endpoints, config.models.trusted_hosts), strict=True):
        yield server_check(endpoint, report)


def ollama_endpoints(config: Config) -> tuple[ServerEndpoint, ...]:
    """The Ollama servers of the configuration with the names of their models."""
    provider = config.models.providers.get("ollama")
    usual = (provider.api_base if provider else None) or OLLAMA_DEFAULT
    names: dict[str, list[str]] = {}
    for model in ids_of(config.models.models, "ollama"):
        names.setdefault((model.api_base or usual).rstrip("/"), []).append(model.id.partition("/")[2])
    return tuple(ServerEndpoint(base, ServerKind.OLLAMA, tuple(found)) for base, found in names.items())


def _ask(endpoints: Sequence[ServerEndpoint], trusted: Sequence[str]) -> tuple[ServerReport, ...]:
    import asyncio

    from app.llm.egress import EgressPolicy
    from app.llm.transport import Transport

    async def ask() -> tuple[ServerReport, ...]:
        async with Transport(EgressPolicy.local_only(trusted)) as transport:
            return await discover(endpoints, transport)

    return asyncio.run(ask())


def server_check(endpoint: ServerEndpoint, report: ServerReport) -> Check:
    """What one Ollama server's report means."""
    base = endpoint.api_base
    has = tuple(name for name in endpoint.names if report.find(name) is not None)
    lacks = tuple(name for name in endpoint.names if name not in has)
    facts = {"api_base": base, "reachable": report.reachable, "has": list(has), "lacks": list(lacks)}
    if not report.reachable:
        remedy = "`ollama serve` (from https://ollama.com), then `ollama pull " + endpoint.names[0] + "`"
        return Check("Ollama", Level.WARNING, f"not usable: {report.problem}", remedy, facts)
    if lacks:
        remedy = "; ".join(_get_model(name) for name in lacks)
        held = f"has {', '.join(has)}; " if has else ""
        return Check("Ollama", Level.WARNING, f"runs at {base}; {held}lacks {', '.join(lacks)}", remedy, facts)
    return Check("Ollama", Level.OK, f"runs at {base} and has {', '.join(has)}", facts=facts)


def _get_model(name: str) -> str:
    """How to come by a model: pulled, or made where its name says that it is another with a larger window."""
    made = _LARGER_WINDOW.fullmatch(name)
    if made is None:
        return f"`ollama pull {name}`"
    context = int(made.group(2)) * 1024
    return f"`ollama create {name}` from a Modelfile `FROM {made.group(1)}`, `PARAMETER num_ctx {context}`"


def check_embedded(config: Config) -> Iterator[Check]:
    """The extra `embedded`, and the GGUF files that want it."""
    installed = importlib.util.find_spec("xllamacpp") is not None
    models = ids_of(config.models.models, "embedded")
    facts = {"installed": installed, "models": [m.id for m in models]}
    if not installed:
        wanted = f", so no {', '.join(m.id for m in models)}" if models else ""
        level = Level.WARNING if models else Level.OK
        remedy = "`make embedded`, or `pip install 'llm-sidecar[embedded]'`" if models else ""
        yield Check("embedded engine", level, f"not installed{wanted}", remedy, facts)
        return
    yield Check("embedded engine", Level.OK, "installed", facts=facts)
    for model in models:
        if model.gguf and not Path(model.gguf).is_file():
            yield Check(model.id, Level.WARNING, f"there is no file {model.gguf}", "correct `gguf` in models.yaml")


def check_embedding_model(folder: Path) -> Check:
    """Whether the embedding model's files are there; without them search and recall go by words alone."""
    absent = missing(folder)
    facts = {"folder": str(folder), "missing": list(absent)}
    if absent:
        detail = f"{MINILM.name} is not in {folder}, so search and recall go by words alone"
        return Check("embedding model", Level.WARNING, detail, "`llm-sidecar models fetch` (90 MB, once)", facts)
    return Check("embedding model", Level.OK, f"{MINILM.name} in {folder}", facts=facts)


def check_agents(config: Config) -> Iterator[Check]:
    """What each entry of agents.yaml still lacks. Agents of other packages are loaded to be asked."""
    from app.agents.registry import kind_of, load_plugin, plugins
    from app.services.agents import OWN

    offered = plugins()
    for entry in config.agents.agents:
        kind = kind_of(entry)
        found = OWN.get(kind) or (load_plugin(offered[kind]) if kind in offered else f"there is no agent `{kind}`")
        facts = {"agent": kind, "enabled": entry.enabled, "schedule": entry.schedule}
        name = f"agent {entry.name}"
        if isinstance(found, str):
            remedy = "install the package that has it, or correct agents.yaml"
            yield Check(name, Level.WARNING, found, remedy, facts)
            continue
        lacks = found.lacks(entry)
        facts["lacks"] = [{"what": lack.what, "remedy": lack.remedy} for lack in lacks]
        when = entry.schedule if entry.enabled and entry.schedule else "when it is triggered"
        if lacks:
            # Off by default where it needs a source: nothing is wrong before somebody wants it.
            level = Level.WARNING if entry.enabled else Level.OK
            what, remedies = (
                "; ".join(parts) for parts in zip(*((one.what, one.remedy) for one in lacks), strict=True)
            )
            yield Check(name, level, f"{'on' if entry.enabled else 'off'}, and lacks {what}", remedies, facts)
        else:
            yield Check(name, Level.OK, when if entry.enabled else "off; it can be triggered", facts=facts)
