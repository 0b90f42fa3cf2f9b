"""The dashboard's door and its files: who gets the page, with which headers."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.fakes.scripted_chat import Scripted, ending, opening, scripted

pytestmark = pytest.mark.asyncio(loop_scope="module")

PERSON = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
PAGE = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
QUESTION = {"query": "hello"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scripted]:
    async with scripted(tmp_path_factory.mktemp("data"), opening(), [ending()]) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def browser(sidecar: Scripted) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the cookie and nothing else."""
    async with httpx.AsyncClient(base_url=sidecar.http.base_url, trust_env=False) as browser:
        link = (await sidecar.http.post("/api/v1/dashboard/link", json={})).json()
        answer = await browser.get(link["path"])
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
        assert answer.headers["referrer-policy"] == "no-referrer"
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"sidecar_session_{sidecar.port}=")
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert sidecar.services.token not in cookie
        yield browser


def origin(sidecar: Scripted) -> str:
    return f"http://127.0.0.1:{sidecar.port}"


async def test_a_link_works_once_and_only_with_its_code(sidecar: Scripted) -> None:
    async with httpx.AsyncClient(base_url=sidecar.http.base_url, trust_env=False) as stranger:
        path = (await sidecar.http.post("/api/v1/dashboard/link", json={})).json()["path"]
        assert (await stranger.get(path)).status_code == 303
        for spent in (path, "/dashboard/login", "/dashboard/login?code=", "/dashboard/login?code=%ff&x"):
            answer = await stranger.get(spent)
            assert answer.status_code == 401
            assert "llm-sidecar dashboard" in answer.text
            assert "set-cookie" not in answer.headers
        assert (await stranger.post("/api/v1/dashboard/link", json={})).status_code == 401


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", PERSON, 200),
        ("/", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}, 200),
        ("/api/v1/health", PAGE, 200),
        # SameSite ignores ports: a page of another program on this machine is "same-site", and gets nothing.
        ("/api/v1/health", {"Sec-Fetch-Site": "same-site"}, 401),
        ("/api/v1/health", {"Sec-Fetch-Site": "cross-site"}, 401),
        ("/", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 401),
        # Something that is no browser, or an old one, reads with it, and changes nothing without our origin.
        ("/api/v1/health", {}, 200),
        ("/", {}, 200),
        ("/api/v1/health", {"Origin": "https://evil.example"}, 403),
        # A person's navigation opens the page, not the interface.
        ("/api/v1/health", PERSON, 401),
        ("/", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "no-cors"}, 401),
    ],
)
async def test_the_cookie_counts_for_our_own_page_alone(
    browser: httpx.AsyncClient, path: str, headers: dict[str, str], status: int
) -> None:
    assert (await browser.get(path, headers=headers)).status_code == status


async def test_what_changes_something_also_shows_our_origin(sidecar: Scripted, browser: httpx.AsyncClient) -> None:
    async def ask(**headers: str) -> int:
        return (await browser.post("/api/v1/chat", json=QUESTION, headers={**PAGE, **headers})).status_code

    assert await ask(Origin=origin(sidecar)) == 200
    assert await ask() == 401
    # Allowed with the token, and not with the cookie.
    assert await ask(Origin="tauri://localhost") == 401
    assert await ask(Origin=f"http://localhost:{sidecar.port}") == 401
    assert await ask(Origin=f"http://127.0.0.1:{sidecar.port + 1}") == 403
    answer = await browser.post("/api/v1/chat", json=QUESTION, headers={**PERSON, "Origin": origin(sidecar)})
    assert answer.status_code == 401


async def test_without_fetch_metadata_only_our_origin_changes_something(
    sidecar: Scripted, browser: httpx.AsyncClient
) -> None:
    assert (await browser.post("/api/v1/chat", json=QUESTION)).status_code == 401
    elsewhere = {"Origin": "tauri://localhost"}
    assert (await browser.post("/api/v1/chat", json=QUESTION, headers=elsewhere)).status_code == 401
    ours = {"Origin": origin(sidecar)}
    assert (await browser.post("/api/v1/chat", json=QUESTION, headers=ours)).status_code == 200


async def test_signing_out_ends_the_session(sidecar: Scripted, browser: httpx.AsyncClient) -> None:
    headers = {**PAGE, "Origin": origin(sidecar)}
    kept = dict(browser.cookies)
    assert (await browser.post("/api/v1/dashboard/sign-out", headers=headers)).status_code == 204
    browser.cookies.update(kept)
    assert (await browser.get("/api/v1/health", headers=PAGE)).status_code == 401


async def test_somebody_who_is_not_let_in_is_told_how(sidecar: Scripted) -> None:
    async with httpx.AsyncClient(base_url=sidecar.http.base_url, trust_env=False) as stranger:
        answer = await stranger.get("/", headers=PERSON)
        assert answer.status_code == 401
        assert "llm-sidecar dashboard" in answer.text
        assert "refresh" not in answer.text
        # From another site's link the cookie only comes when our own page asks again; and it asks no third time.
        assert 'url=/"' in (await stranger.get("/", headers={**PERSON, "Sec-Fetch-Site": "cross-site"})).text
        again = await stranger.get("/", headers={**PERSON, "Sec-Fetch-Site": "same-origin"})
        assert "refresh" not in again.text


async def test_files_are_sent_once_and_under_a_strict_policy(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/", headers=PERSON)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    for path in ("/web/main.js", "/web/style.css", "/web/icon.svg", "/web/plotly.min.js"):
        file = await browser.get(path, headers=PAGE)
        assert file.status_code == 200, path
        assert file.headers["content-security-policy"] == policy
        again = await browser.get(path, headers={**PAGE, "If-None-Match": file.headers["etag"]})
        assert again.status_code == 304
        assert again.content == b""
    for wrong in ("/web/nothing.js", "/web/../main.py", "/web/..%2fmain.py", "/web/", "/web/__init__.py"):
        assert (await browser.get(wrong, headers=PAGE)).status_code == 404, wrong


async def test_plotly_comes_packed_or_plain_from_its_package(browser: httpx.AsyncClient) -> None:
    request = browser.build_request("GET", "/web/plotly.min.js", headers={**PAGE, "Accept-Encoding": "gzip"})
    packed = await browser.send(request, stream=True)
    content = gzip.decompress(b"".join([part async for part in packed.aiter_raw()]))
    plain = await browser.get("/web/plotly.min.js", headers={**PAGE, "Accept-Encoding": "identity"})
    assert content == plain.content
    assert content.startswith(b"/**\n* plotly.js v")


async def test_every_file_the_page_names_is_there() -> None:
    folder = Path(__file__).parents[2] / "app" / "web"
    page = (folder / "index.html").read_text("utf-8")
    named = set(re.findall(r'(?:src|href)="/web/([^"]+)"', page))
    for script in folder.glob("*.js"):
        named |= set(re.findall(r'from "\./([^"]+)"', script.read_text("utf-8")))
    assert named
    assert all((folder / name).is_file() for name in named)
    assert " style=" not in page
    assert "onclick" not in page
