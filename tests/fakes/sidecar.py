"""A whole sidecar under uvicorn on a free port of loopback, in the test's own event loop.

    async with running_sidecar(tmp_path, models=[...], rules=[...]) as sidecar:
        response = await sidecar.http.post("/api/v1/chat", json={"query": "hello"})

Real settings, files, database and sockets; only the clock can be replaced.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from app.api.application import create_app
from app.api.resumable import KeepLimits
from app.api.sse import Patience
from app.llm.clock import SYSTEM_CLOCK, Clock
from app.main import SidecarServer, server_config
from app.services import Services, open_services
from app.settings import Settings
from app.usage.ledger import LedgerLimits

TOKEN = "test-token-0123456789abcdef0123456789abcdef"

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Shared by the tests' clients: httpx reads the machine's certificates, 25 ms, for each client without one."""
PATIENT_LEDGER = LedgerLimits(settle_wait=30.0)
"""An answer ends when its row can be read, also where the disk of the machine that tests is slow for a second."""


@dataclass(frozen=True)
class SseEvent:
    name: str
    data: dict[str, Any]
    id: int | None


def parse_events(body: str) -> list[SseEvent]:
    """The events of an SSE body, in order; comments and `retry` are left out."""
    events = []
    for block in body.replace("\r\n", "\n").split("\n\n"):
        found = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in found:
            event_id = int(found["id"]) if "id" in found else None
            events.append(SseEvent(found.get("event", "message"), json.loads(found["data"]), event_id))
    return events


@dataclass
class RunningSidecar:
    url: str
    http: httpx.AsyncClient
    services: Services
    settings: Settings
    config_dir: Path
    slept: list[float] = field(default_factory=list)

    async def chat(self, **body: Any) -> list[SseEvent]:
        """The events of one streamed answer."""
        response = await self.http.post("/api/v1/chat", json=body)
        assert response.status_code == 200, response.text
        return parse_events(response.text)

    def rows(self, sql: str = "SELECT * FROM llm_usage_log ORDER BY created_at, attempt") -> list[dict[str, Any]]:
        """Rows of the ledger as another program would read them."""
        with closing(sqlite3.connect(f"file:{self.settings.database_path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql)]


def recording_clock(slept: list[float]) -> Clock:
    """The system's clock, except that sleeping takes no time, is written down, and never jitters."""

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    return Clock(sleep=sleep, chance=lambda: 0.0)


def write_config(
    folder: Path,
    *,
    models: Sequence[Mapping[str, Any]] = (),
    rules: Sequence[Mapping[str, Any]] = (),
    profiles: Sequence[Mapping[str, Any]] = (),
    default_workspace: str | None = None,
    models_extra: Mapping[str, Any] | None = None,
    routing_extra: Mapping[str, Any] | None = None,
    profiles_extra: Mapping[str, Any] | None = None,
    agents: Sequence[Mapping[str, Any]] = (),
) -> None:
    """The YAML files of a configuration folder."""
    folder.mkdir(parents=True, exist_ok=True)
    profiles = profiles or [
        {"id": "open", "name": "Open", "block_cloud_apis": False},
        {"id": "work", "name": "Work", "block_cloud_apis": True},
    ]
    files = {
        "models.yaml": {"models": list(models), **(models_extra or {})},
        "routing.yaml": {"rules": list(rules), **(routing_extra or {})},
        "profiles.yaml": {
            "default_workspace": default_workspace or profiles[0]["id"],
            "profiles": list(profiles),
            **(profiles_extra or {}),
        },
    }
    if agents:
        files["agents.yaml"] = {"agents": list(agents)}
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


@asynccontextmanager
async def running_sidecar(
    tmp_path: Path,
    *,
    clock: Clock | None = None,
    settings: Mapping[str, Any] | None = None,
    patience: Patience | None = None,
    keep: KeepLimits | None = None,
    **config: Any,
) -> AsyncIterator[RunningSidecar]:
    """Start a sidecar on its own configuration and data folders; stop it in order at the end.

    `clock` None: sleeping takes no time and is recorded in `slept`. `patience`, `keep` None: the contract's own.
    """
    config_dir = tmp_path / "config"
    if config or not config_dir.exists():
        write_config(config_dir, **config)
    slept: list[float] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        values = {"port": port, "token": TOKEN, "config_dir": config_dir, "data_dir": tmp_path / "data"}
        made = Settings(**{**values, **(settings or {})})
        opened = open_services(made, token=TOKEN, clock=clock or recording_clock(slept), ledger_limits=PATIENT_LEDGER)
        async with opened as services:
            await services.ready()
            server = SidecarServer(server_config(create_app(services, patience, keep)))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started:  # noqa: ASYNC110  (uvicorn offers no event to wait for)
                await asyncio.sleep(0.005)
            url = f"http://127.0.0.1:{port}"
            headers = {"Authorization": f"Bearer {TOKEN}"}
            try:
                async with httpx.AsyncClient(
                    base_url=url, headers=headers, timeout=30, trust_env=False, verify=NO_TLS
                ) as http:
                    yield RunningSidecar(url, http, services, made, config_dir, slept)
            finally:
                services.shutting_down.set()
                server.should_exit = True
                await serving


__all__ = ["SYSTEM_CLOCK", "TOKEN", "RunningSidecar", "SseEvent", "parse_events", "running_sidecar", "write_config"]
