"""Requests of the dashboard's own page, told from all others by their headers."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from app.api.headers import Headers
from app.api.web_files import SIGN_IN_AGAIN, refusal_page

LOGIN_PATH: Final = "/dashboard/login"
PAGE_PATH: Final = "/"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def cookies(headers: Headers, name: str) -> list[bytes]:
    found = []
    for value in headers.all(b"cookie"):
        try:
            morsel = SimpleCookie(value.decode("latin-1")).get(name)
        except CookieError:
            continue
        if morsel is not None:
            found.append(morsel.value.encode("latin-1", "replace"))
    return found


def from_our_page(scope: Scope, headers: Headers) -> bool:
    """By Fetch Metadata, which no page can forge (https://www.w3.org/TR/fetch-metadata/).

    Whoever sends none at all is no browser of these years. It may read with the cookie: another origin's page could
    not read the answer, and where it asks so that it could, the Origin it sends is refused before.

    `none` is a person's own navigation, and opens the page alone. What changes something also shows our origin: that of
    the very Host that was asked, not one of those that may use the sidecar with a token.
    """
    site = headers.all(b"sec-fetch-site")
    method, path = scope["method"], scope["path"]
    if site == [b"none"]:
        return method in SAFE_METHODS and path == PAGE_PATH and headers.first(b"sec-fetch-mode") == b"navigate"
    if site not in ([], [b"same-origin"]):
        return False
    return method in SAFE_METHODS or headers.all(b"origin") == [b"http://" + headers.all(b"host")[0].lower()]


def page_for_people(scope: Scope, headers: Headers) -> Response | None:
    """For a browser that opens the dashboard without being let in: what to do, as a page and not as JSON."""
    if scope["path"] != PAGE_PATH or headers.first(b"sec-fetch-mode") != b"navigate":
        return None
    # A link in another site's page brings no SameSite=Strict cookie; asked again from our own page, it comes.
    elsewhere = headers.first(b"sec-fetch-site") in (b"cross-site", b"same-site")
    return refusal_page(SIGN_IN_AGAIN, 401, again=elsewhere)
