"""A sidecar in a process of its own, broken from outside: killed, locked out, with its disk full.

async with FakeProvider() as provider:
    drill = Drill(tmp_path, provider.url)
    sidecar = await drill.start()
    answer = await sidecar.chat("hello")
    sidecar.process.kill()
    assert drill.rows() == ...
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.sidecar import TOKEN, SseEvent, parse_events, write_config

MODEL = "ollama/llama3:8b"


@dataclass
class Stream:
    """One answer as its client received it, also where it broke off."""

    text: str = ""
    broken: bool = False

    @property
    def events(self) -> list[SseEvent]:
        whole, _, _ = self.text.rpartition("\n\n")
        return parse_events(whole)

    @property
    def request_id(self) -> str | None:
        return next((e.data["request_id"] for e in self.events if e.name == "route"), None)

    @property
    def ends(self) -> list[SseEvent]:
        return [e for e in self.events if e.name in ("done", "error")]


@dataclass
class Running:
    process: asyncio.subprocess.Process
    url: str
    http: httpx.AsyncClient
    log: list[str] = field(default_factory=list)

    async def stream(self, into: Stream, query: str = "hello") -> Stream:
        """Ask, and read into `into` as it comes; a connection that breaks is noted there."""
        try:
            async with self.http.stream("POST", "/api/v1/chat", json={"query": query}) as response:
                assert response.status_code == 200, await response.aread()
                async for piece in response.aiter_text():
                    into.text += piece
        except httpx.TransportError:
            into.broken = True
        return into

    async def chat(self, query: str = "hello") -> SseEvent:
        """Ask; the answer's terminal event."""
        (end,) = (await self.stream(Stream(), query)).ends
        return end

    async def ledger_health(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get("/api/v1/health")).json()["parts"]["ledger"]
        return found

    async def end(self, within: float = 15.0) -> tuple[int, float, str]:
        """Wait for the process: its exit status, how long that took, and its log."""
        began = time.monotonic()
        _, log = await asyncio.wait_for(self.process.communicate(), within)
        return self.process.returncode or 0, time.monotonic() - began, log.decode()


class Drill:
    """Folders of one sidecar, which may be started again and again."""

    def __init__(
        self,
        folder: Path,
        provider_url: str,
        program: Sequence[str] = (sys.executable, "-m", "app"),
        data: Path | None = None,
    ) -> None:
        self.program = tuple(program)
        self.config = folder / "config"
        self.data = data or folder / "data"
        self.database = self.data / "sidecar.db"
        write_config(
            self.config,
            models=[{"id": MODEL, "api_base": provider_url, "context_window": 8192, "tokenizer": "llama3"}],
            rules=[{"name": "default", "conditions": {}, "model": MODEL}],
        )

    @property
    def environment(self) -> dict[str, str]:
        settings = {"CONFIG_DIR": str(self.config), "DATA_DIR": str(self.data), "PORT": "0", "TOKEN": TOKEN}
        return {**os.environ, **{f"SIDECAR_{name}": value for name, value in settings.items()}}

    async def spawn(self, *options: str, stdin: int | None = None, **env: str) -> asyncio.subprocess.Process:
        """`serve` with these options, as soon as the process exists."""
        return await asyncio.create_subprocess_exec(
            *(*self.program, "serve", *options),
            env={**self.environment, **env},
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    @asynccontextmanager
    async def running(
        self, *options: str, warm: bool = True, stdin: int | None = None, **env: str
    ) -> AsyncIterator[Running]:
        """Started and ready; `warm`: it has answered once. Killed at the end where it still runs."""
        process = await self.spawn(*options, stdin=stdin, **env)
        try:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), 90)
            assert line, (await process.communicate())[1].decode()
            url = f"http://127.0.0.1:{json.loads(line)['port']}"
            headers = {"Authorization": f"Bearer {TOKEN}"}
            limits = httpx.Limits(max_connections=64)
            async with httpx.AsyncClient(
                base_url=url, headers=headers, timeout=30, trust_env=False, limits=limits
            ) as http:
                running = Running(process, url, http)
                if warm:
                    await running.chat("warm up")
                yield running
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    def rows(self) -> list[Mapping[str, Any]]:
        """The ledger as another program reads it."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute("SELECT * FROM llm_usage_log ORDER BY created_at")]

    def integrity(self) -> str:
        with closing(sqlite3.connect(self.database)) as connection:
            return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
