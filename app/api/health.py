"""`GET /health` for whoever asks, and `GET /api/v1/health` for whoever has the token."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app import __version__
from app.api.deps import DirectRoute, api_of, json_response, v1_router
from app.api.results import Health, Liveness

open_router = APIRouter(route_class=DirectRoute, tags=["health"])
router = v1_router("health", route_class=DirectRoute)


@open_router.get("/health", summary="Is it there?", operation_id="liveness", responses={200: {"model": Liveness}})
async def liveness(request: Request) -> Any:
    """Needs no token, and says nothing that needs one."""
    services = api_of(request).services
    status = "shutting_down" if services.shutting_down.is_set() else "ok"
    return json_response({"status": status, "version": __version__, "instance_id": services.instance_id})


# For probes that ask for the head alone (`wget --spider`, uptime monitors).
open_router.add_api_route("/health", liveness, methods=["HEAD"], include_in_schema=False)


@router.get("/health", summary="How is each part?", operation_id="health", responses={200: {"model": Health}})
async def health(request: Request) -> Any:
    """Every part with its status, the reason and the remedy. 200 also where parts are not well: it says so."""
    api = api_of(request)
    found = await api.services.health()
    return json_response(
        {
            "status": found["status"],
            "version": __version__,
            "instance_id": api.services.instance_id,
            "started_at": api.services.started_at.isoformat(),
            "open_streams": len(api.streams),
            "parts": found["parts"],
        }
    )
