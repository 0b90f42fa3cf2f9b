"""What the model servers on this machine and its trusted hosts have: models, windows, and which of them run elsewhere.

Only local endpoints are asked; a cloud is never asked what it has. Nothing here raises: a server that is away is a
report that says so.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import orjson

from app.errors import AttemptError
from app.routing.locality import Location
from app.routing.spec import Discovered, ModelSpec, ServedModel

SERVER_SECONDS = 2.0
"""How long one server may take to say what it has."""
MAX_AGE_SECONDS = 60.0
AWAY_SECONDS = 5.0
"""Where a server was away, its answer is old sooner: somebody is about to start it."""
OLLAMA_DEFAULT = "http://127.0.0.1:11434"
_OLLAMA_WIRES = frozenset({"ollama", "ollama_chat"})


class FetchesJson(Protocol):
    """The part of `Transport` that is used."""

    async def get_json(
        self,
        url: str,
        *,
        local: bool,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Any: ...


class ServerKind(StrEnum):
    OLLAMA = "ollama"
    OPENAI = "openai"
    """Anything that answers `/v1/models`: llama.cpp, vLLM, LM Studio, …"""


@dataclass(frozen=True, slots=True)
class ServerEndpoint:
    """A server to ask, and the names of the configured models it should have."""

    api_base: str
    kind: ServerKind
    names: tuple[str, ...]
    api_key_env: str | None = None


@dataclass(frozen=True, slots=True)
class ServerModel:
    """One model a server lists."""

    name: str
    context_window: int | None = None
    """Tokens; None: the server does not say."""
    capabilities: frozenset[str] | None = None
    """In the server's own words (Ollama: completion, tools, vision, …); None: it does not say."""
    remote_host: str | None = None
    """Set where the server only passes requests on to somebody else's computer: such a model is a cloud model."""

    @property
    def remote(self) -> bool:
        return self.remote_host is not None


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What one server said. `problem` is None where it answered."""

    api_base: str
    kind: ServerKind
    models: tuple[ServerModel, ...] = ()
    problem: str | None = None

    @property
    def reachable(self) -> bool:
        return self.problem is None

    def find(self, name: str) -> ServerModel | None:
        """The model `name`, where `x` equals `x:latest`. None: not listed."""
        wanted = full_name(name)
        return next((m for m in self.models if full_name(m.name) == wanted), None)


def discovered(reports: Iterable[ServerReport]) -> Discovered:
    """The reports of the servers that answered, as the catalog reads them."""
    return Discovered(
        {
            report.api_base: tuple(
                ServedModel(m.name, m.context_window, m.capabilities, remote=m.remote) for m in report.models
            )
            for report in reports
            if report.reachable
        }
    )


def full_name(name: str) -> str:
    """Ollama's spelling with the tag written out."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def local_endpoints(models: Iterable[ModelSpec]) -> tuple[ServerEndpoint, ...]:
    """The servers of the models whose location is loopback or trusted, each once."""
    found: dict[tuple[str, ServerKind], ServerEndpoint] = {}
    for model in models:
        if model.location not in (Location.LOOPBACK, Location.TRUSTED) or model.provider in ("builtin", "embedded"):
            continue
        kind = ServerKind.OLLAMA if model.wire in _OLLAMA_WIRES else ServerKind.OPENAI
        base = model.endpoint.api_base or (OLLAMA_DEFAULT if kind is ServerKind.OLLAMA else None)
        if base is None:
            continue
        base = base.rstrip("/")
        known = found.get((base, kind))
        names = (*known.names, model.name) if known else (model.name,)
        key = (known.api_key_env if known else None) or model.api_key_env
        found[base, kind] = ServerEndpoint(base, kind, names, key)
    return tuple(found.values())


KeyOf = Callable[[str], Awaitable[str | None]]


async def discover(
    endpoints: Collection[ServerEndpoint],
    transport: FetchesJson,
    key_of: KeyOf | None = None,
    timeout: float = SERVER_SECONDS,
) -> tuple[ServerReport, ...]:
    """Ask every server at once; a report for each, in the order given. Never raises; bounded by `timeout` seconds."""
    return tuple(await asyncio.gather(*(_ask(e, transport, key_of, timeout) for e in endpoints)))


async def _ask(endpoint: ServerEndpoint, transport: FetchesJson, key_of: KeyOf | None, timeout: float) -> ServerReport:
    try:
        async with asyncio.timeout(timeout):
            key = await key_of(endpoint.api_key_env) if key_of and endpoint.api_key_env else None
            server = _Server(endpoint, transport, {"Authorization": f"Bearer {key}"} if key else {}, timeout)
            models = await (server.ollama() if endpoint.kind is ServerKind.OLLAMA else server.openai())
            return ServerReport(endpoint.api_base, endpoint.kind, models)
    except TimeoutError:
        problem = f"no answer within {timeout:g} s"
    except AttemptError as error:
        problem = error.detail
    except (TypeError, ValueError, KeyError, AttributeError):
        problem = "the answer is not a list of models; is this the right kind of server?"
    return ServerReport(endpoint.api_base, endpoint.kind, problem=problem)


@dataclass(frozen=True, slots=True)
class _Server:
    endpoint: ServerEndpoint
    transport: FetchesJson
    headers: Mapping[str, str]
    timeout: float

    async def _get(self, path: str, question: object = None) -> Any:
        body = None if question is None else orjson.dumps(question)
        headers = self.headers if body is None else {**self.headers, "Content-Type": "application/json"}
        url = self.endpoint.api_base + path
        return await self.transport.get_json(url, local=True, timeout=self.timeout, headers=headers, body=body)

    async def ollama(self) -> tuple[ServerModel, ...]:
        listed = [_ollama_tag(tag) for tag in (await self._get("/api/tags"))["models"] or ()]
        wanted = {full_name(name) for name in self.endpoint.names}
        return tuple(
            await asyncio.gather(*(self._shown(m) if full_name(m.name) in wanted else _same(m) for m in listed))
        )

    async def _shown(self, model: ServerModel) -> ServerModel:
        """The model with what `/api/show` adds; as it was where that fails."""
        try:
            shown = await self._get("/api/show", {"model": model.name})
            return _ollama_details(model, shown)
        except (AttemptError, TypeError, ValueError, KeyError, AttributeError):
            return model

    async def openai(self) -> tuple[ServerModel, ...]:
        base = self.endpoint.api_base
        answer = await self._get("/models" if base.endswith("/v1") else "/v1/models")
        return tuple(ServerModel(str(entry["id"]), _openai_window(entry)) for entry in answer["data"])


async def _same(model: ServerModel) -> ServerModel:
    return model


def _ollama_tag(tag: Mapping[str, Any]) -> ServerModel:
    name = str(tag["name"])
    return ServerModel(name, remote_host=remote_host(name, tag))


def remote_host(name: str, entry: Mapping[str, Any]) -> str | None:
    """Where a model really runs, if not on the server asked. `remote_model` without a host, and Ollama's naming of its
    cloud models, count as well: better a local model too few than a prompt that left."""
    if host := entry.get("remote_host"):
        return str(host)[:100]
    if entry.get("remote_model") or name.endswith(("-cloud", ":cloud")):
        return "ollama.com"
    return None


def _ollama_details(model: ServerModel, shown: Mapping[str, Any]) -> ServerModel:
    window = next(
        (value for key, value in (shown.get("model_info") or {}).items() if key.endswith(".context_length")), None
    )
    capabilities = shown.get("capabilities")
    return ServerModel(
        model.name,
        _window(window),
        frozenset(map(str, capabilities)) if isinstance(capabilities, list) else None,
        model.remote_host or remote_host(model.name, shown),
    )


def _openai_window(entry: Mapping[str, Any]) -> int | None:
    """vLLM: `max_model_len`. llama.cpp: `meta.n_ctx` (its `n_ctx_train` is what the model could, not what is served).
    LM Studio and others: `loaded_context_length`, `context_length`."""
    meta = entry.get("meta")
    served = meta.get("n_ctx") if isinstance(meta, Mapping) else None
    values = (served, *(entry.get(k) for k in ("max_model_len", "loaded_context_length", "context_length")))
    return next((window for value in values if (window := _window(value)) is not None), None)


def _window(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


@dataclass(slots=True)
class Discovery:
    """The latest reports, asked for again when they are older than `max_age` seconds.

    `monotonic` gives seconds. One refresh runs at a time; who comes meanwhile waits for it.
    """

    transport: FetchesJson
    monotonic: Callable[[], float]
    key_of: KeyOf | None = None
    max_age: float = MAX_AGE_SECONDS
    timeout: float = SERVER_SECONDS
    reports: tuple[ServerReport, ...] = ()
    _asked: tuple[ServerEndpoint, ...] = ()
    _asked_at: float | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def stale(self, endpoints: Collection[ServerEndpoint]) -> bool:
        """Whether a refresh is due: never asked, asked about others, or asked too long ago."""
        if self._asked_at is None or tuple(endpoints) != self._asked:
            return True
        max_age = self.max_age if all(report.reachable for report in self.reports) else min(self.max_age, AWAY_SECONDS)
        return self.monotonic() - self._asked_at >= max_age

    async def refresh(self, endpoints: Collection[ServerEndpoint], *, force: bool = False) -> tuple[ServerReport, ...]:
        """The reports of `endpoints`, new ones where they are stale or `force` is given. Never raises."""
        async with self._lock:
            if force or self.stale(endpoints):
                self.reports = await discover(endpoints, self.transport, self.key_of, self.timeout)
                self._asked, self._asked_at = tuple(endpoints), self.monotonic()
            return self.reports

    def report_for(self, api_base: str) -> ServerReport | None:
        return next((r for r in self.reports if r.api_base == api_base.rstrip("/")), None)


def hosts_file() -> Path:
    """Where this system keeps names it knows without asking anybody."""
    if sys.platform == "win32":
        return Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "drivers" / "etc" / "hosts"
    return Path("/etc/hosts")


def hosts_file_addresses(names: Collection[str], path: Path | None = None) -> Mapping[str, tuple[str, ...]]:
    """The addresses the hosts file gives to `names`, which it may not mention. Reads one file; asks no name server.

    An unreadable hosts file knows nothing.
    """
    try:
        text = (path or hosts_file()).read_text("utf-8", errors="replace")
    except OSError:
        return {}
    wanted = {name.lower().rstrip("."): name for name in names}
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *aliases = line.partition("#")[0].split() or [""]
        for alias in aliases:
            if (name := wanted.get(alias.lower())) is not None:
                found.setdefault(name, []).append(address)
    return {name: tuple(dict.fromkeys(addresses)) for name, addresses in found.items()}
