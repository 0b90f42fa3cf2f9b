"""The dashboard's files: a closed list of those that ship in `app/web`, and Plotly's JavaScript from its own package.

Nothing of plotly is imported, and nothing is fetched from outside: a page that needs the network to show what stays on
this machine would be a poor joke.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

FOLDER: Final = Path(__file__).parent.parent / "web"
PLOTLY: Final = "plotly.min.js"
TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".html": "text/html"}
POLICY: Final = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
))  # fmt: skip
"""Nothing inline, nothing from elsewhere. `data:` is for the pictures Plotly makes of its own charts."""
HEADERS: Final = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class WebFile:
    """Bytes as they are sent. `packed`: gzip, for what is large."""

    content: bytes
    media_type: str
    etag: str
    packed: bool = False


@cache
def files() -> dict[str, WebFile]:
    """The page's own, by name."""
    kinds = {path: TYPES.get(path.suffix) for path in sorted(FOLDER.iterdir())}
    return {path.name: _file(path.read_bytes(), kind) for path, kind in kinds.items() if kind}


async def plotly() -> WebFile | None:
    """Packed once, in a thread; None where the package is not installed."""
    return await asyncio.to_thread(_plotly)


@cache
def _plotly() -> WebFile | None:
    found = importlib.util.find_spec("plotly")
    folders = list(found.submodule_search_locations or ()) if found else []
    path = Path(folders[0]) / "package_data" / PLOTLY if folders else None
    if path is None or not path.is_file():
        return None
    return _file(gzip.compress(path.read_bytes(), 6, mtime=0), TYPES[".js"], packed=True)


def _file(content: bytes, kind: str, packed: bool = False) -> WebFile:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return WebFile(content, f"{kind}; charset=utf-8", etag, packed)


def file_response(file: WebFile, request: Request) -> Response:
    """The file, or 304 where the browser has this very version; it asks each time, so an upgrade shows at once."""
    headers = {**HEADERS, "cache-control": "private, no-cache", "etag": file.etag, "vary": "Accept-Encoding"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    content = file.content
    if file.packed and "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
    elif file.packed:
        content = gzip.decompress(content)
    return Response(content, headers=headers, media_type=file.media_type)


def refusal_page(text: str, status: int, again: bool = False) -> Response:
    """What a person sees in place of the page. `again`: once more, this time as a request of our own page."""
    refresh = '<meta http-equiv="refresh" content="0; url=/">' if again else ""
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>llm-sidecar</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark">{refresh}</head><body><main><h1>llm-sidecar</h1><p>{text}</p></main></body></html>'
    )
    return Response(page, status, {**HEADERS, "cache-control": "no-store"}, media_type="text/html; charset=utf-8")


SIGN_IN_AGAIN: Final = (
    "To open the dashboard run <code>llm-sidecar dashboard</code>: it makes a link that opens it once."
)
LINK_IS_SPENT: Final = f"This link was used already, or is older than two minutes. {SIGN_IN_AGAIN}"
