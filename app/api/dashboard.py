"""The dashboard: its page at `/`, its files, and the one-time link that lets a browser in."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.api.deps import DirectRoute, api_of, json_response, v1_router
from app.api.own_page import LOGIN_PATH, PAGE_PATH
from app.api.results import DashboardLink
from app.api.sign_in import CODE_SECONDS, SESSION_SECONDS, cookie_name
from app.api.web_files import HEADERS, LINK_IS_SPENT, PLOTLY, file_response, files, plotly, refusal_page
from app.errors import NotFound

page_router = APIRouter(route_class=DirectRoute, include_in_schema=False)
router = v1_router("dashboard", route_class=DirectRoute)

LONGEST_CODE: Final = 128


@router.post(
    "/dashboard/link",
    summary="Let a browser in",
    operation_id="dashboard_link",
    responses={200: {"model": DashboardLink}},
)
async def link(request: Request) -> Any:
    """A path that opens the dashboard once, within two minutes. `llm-sidecar dashboard` asks for it."""
    code = api_of(request).sign_in.issue_code()
    return json_response({"path": f"{LOGIN_PATH}?code={code}", "expires_in_seconds": int(CODE_SECONDS)})


@router.post(
    "/dashboard/sign-out",
    summary="End this browser's session",
    operation_id="sign_out",
    status_code=204,
    response_model=None,
)
async def sign_out(request: Request) -> Response:
    """For the page: ends the session of the cookie that came along."""
    name = _cookie_name(request)
    api_of(request).sign_in.sign_out(request.cookies.get(name, "").encode())
    response = Response(status_code=204)
    response.delete_cookie(name, httponly=True, samesite="strict")
    return response


@page_router.get(LOGIN_PATH)
async def login(request: Request) -> Response:
    """Needs no token but its code. The answer leads to the page, so that the code stays in no history."""
    query = parse_qs(request.scope["query_string"].decode("ascii", "replace"))
    code = (query.get("code") or [""])[0][:LONGEST_CODE]
    session = api_of(request).sign_in.redeem(code)
    if session is None:
        return refusal_page(LINK_IS_SPENT, 401)
    response = RedirectResponse(PAGE_PATH, 303, {**HEADERS, "cache-control": "no-store"})
    response.set_cookie(
        _cookie_name(request), session, max_age=int(SESSION_SECONDS), path="/", httponly=True, samesite="strict"
    )
    return response


@page_router.get(PAGE_PATH)
async def page(request: Request) -> Response:
    return file_response(files()["index.html"], request)


@page_router.get("/web/{name}")
async def web_file(request: Request) -> Response:
    name = request.path_params["name"]
    file = await plotly() if name == PLOTLY else files().get(name)
    if file is None:
        raise NotFound("There is no such file of the dashboard.", code="not_found")
    return file_response(file, request)


def _cookie_name(request: Request) -> str:
    server = request.scope.get("server")
    return cookie_name(server[1] if server else None)
