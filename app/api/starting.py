"""What answers while the program behind the port is still being imported and opened."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app import __version__
from app.api.security import Door, DoorPolicy


class Starting:
    """An ASGI application that says `starting` at /health, lets every other request wait, and hands over.

    The program has a door of its own; the one here guards the early /health alone. Serve it with `lifespan="off"`: the
    program's own lifespan is entered when it is handed over.
    """

    def __init__(self, policy: DoorPolicy) -> None:
        self._early = Door(self._liveness, policy)
        self._program: ASGIApp | None = None
        self._handed_over: asyncio.Future[ASGIApp] = asyncio.get_running_loop().create_future()

    def hand_over(self, program: ASGIApp) -> None:
        """From now on every request goes to `program`."""
        self._program = program
        self._handed_over.set_result(program)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._program is None:
            if scope["type"] == "http" and scope["path"] == "/health":
                await self._early(scope, receive, send)
                return
            program = await asyncio.shield(self._handed_over)
        else:
            program = self._program
        await program(scope, receive, send)

    async def _liveness(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = {"status": "starting", "version": __version__, "instance_id": None}
        await JSONResponse(body, headers={"cache-control": "no-store"})(scope, receive, send)
