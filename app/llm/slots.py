"""Slots: how many calls one model server works on at once, and who goes first: people before agents.

    person ── fewer than `limit` under way ──> served          else waits, first come first served
    agent ─── and no person served or waiting ──> served       else waits behind every person

A server on this machine shares one processor between all that ask it, so an agent's summary at the wrong moment costs a
person seconds. People are not held back unless `limit` says so: Ollama and llama.cpp queue by themselves, and some
servers answer dozens at once. An agent that is being served is not interrupted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeAlias

from app.config.schema import ProviderEntry
from app.routing.spec import ModelSpec

AGENTS_AT_ONCE = 1
"""Agents under way at one server where nobody has set a limit."""

Waiter: TypeAlias = "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call takes its slot: one model server. `limit` None: as many people as come."""

    endpoint: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """How busy one server is, for progress and `/health`."""

    people: int
    agents: int
    people_waiting: int
    agents_waiting: int


def place_of(model: ModelSpec, providers: Mapping[str, ProviderEntry]) -> Place | None:
    """None where nothing is scarce: the built-in model, and a cloud whose `concurrency` is not configured."""
    if model.provider == "builtin":
        return None
    entry = providers.get(model.provider)
    limit = entry.concurrency if entry is not None else None
    if limit is None and not model.location.is_local:
        return None
    # Embedded models have no address before they are started; they share this machine.
    return Place(model.endpoint.api_base or model.provider, limit)


@dataclass(slots=True)
class _Server:
    """One server's calls. `people` and `agents` are those under way."""

    people: int = 0
    agents: int = 0
    limit: int | None = None
    waiting_people: deque[Waiter] = field(default_factory=deque)
    waiting_agents: deque[Waiter] = field(default_factory=deque)

    def has_room(self, interactive: bool) -> bool:
        """Whether one more may start now, whoever else waits in its own line."""
        if self.limit is not None and self.people + self.agents >= self.limit:
            return False
        if interactive:
            return True
        if self.people or self.waiting_people:
            return False
        return self.agents < (AGENTS_AT_ONCE if self.limit is None else self.limit)

    def line(self, interactive: bool) -> deque[Waiter]:
        return self.waiting_people if interactive else self.waiting_agents

    def count(self, interactive: bool, by: int) -> None:
        if interactive:
            self.people += by
        else:
            self.agents += by

    def admit(self) -> None:
        """Start whoever may. The slot is counted before its waiter wakes, so that nobody can slip in between."""
        for interactive in (True, False):
            line = self.line(interactive)
            while line and self.has_room(interactive):
                waiter = line.popleft()
                if not waiter.done():  # else it was cancelled, and has not been told yet
                    self.count(interactive, 1)
                    waiter.set_result(None)

    @property
    def idle(self) -> bool:
        return not (self.people or self.agents or self.waiting_people or self.waiting_agents)


class Slots:
    """One per process. Used from one event loop; servers that nobody uses take no room."""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}

    def hold(
        self,
        place: Place | None,
        *,
        interactive: bool,
        within: float | None = None,
        told: Callable[[bool], None] | None = None,
    ) -> Hold:
        """`async with slots.hold(...)`: a slot for the time of the block.

        `interactive`: a person waits for the answer. `within`: seconds to wait at most; raises `TimeoutError` after
        them. `place` None: nothing is scarce, and nothing is waited for. `told` is called with True where a wait
        begins, and with False when it is over.
        """
        return Hold(self, place, interactive, within, told)

    def load(self, endpoint: str) -> Load:
        server = self._servers.get(endpoint) or _Server()
        return Load(server.people, server.agents, len(server.waiting_people), len(server.waiting_agents))

    def loads(self) -> Iterator[tuple[str, Load]]:
        """Every server that is being asked."""
        return ((endpoint, self.load(endpoint)) for endpoint in list(self._servers))

    def _take_at_once(self, place: Place, interactive: bool) -> bool:
        server = self._servers.get(place.endpoint)
        if server is None:
            server = self._servers[place.endpoint] = _Server()
        server.limit = place.limit
        if server.line(interactive) or not server.has_room(interactive):
            return False
        server.count(interactive, 1)
        return True

    async def _wait(self, place: Place, interactive: bool) -> None:
        """Returns with a slot counted. A caller that is cancelled gives back what it was given meanwhile."""
        server = self._servers[place.endpoint]
        waiter: Waiter = asyncio.get_running_loop().create_future()
        server.line(interactive).append(waiter)
        server.admit()  # the limit may have been raised since the others began to wait
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                server.count(interactive, -1)
            else:
                waiter.cancel()
                with suppress(ValueError):  # taken out by `admit` already
                    server.line(interactive).remove(waiter)
            self._left(place, server)
            raise

    def _release(self, place: Place, interactive: bool) -> None:
        server = self._servers[place.endpoint]
        server.count(interactive, -1)
        self._left(place, server)

    def _left(self, place: Place, server: _Server) -> None:
        server.admit()
        # A waiter that was cancelled may come here after its server was let go, and another one took its place.
        if server.idle and self._servers.get(place.endpoint) is server:
            del self._servers[place.endpoint]


class Hold:
    """One slot, taken on entering and given back on leaving. Where nobody is in the way neither waits."""

    __slots__ = ("_interactive", "_place", "_slots", "_told", "_within")

    def __init__(
        self,
        slots: Slots,
        place: Place | None,
        interactive: bool,
        within: float | None,
        told: Callable[[bool], None] | None = None,
    ) -> None:
        self._slots = slots
        self._place = place
        self._interactive = interactive
        self._within = within
        self._told = told

    async def __aenter__(self) -> None:
        place = self._place
        if place is None or self._slots._take_at_once(place, self._interactive):
            return
        if self._told is not None:
            self._told(True)
        try:
            async with asyncio.timeout(self._within):
                await self._slots._wait(place, self._interactive)
        finally:
            if self._told is not None:
                self._told(False)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._place is not None:
            self._slots._release(self._place, self._interactive)
