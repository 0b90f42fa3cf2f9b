"""World: the internet as far as agents read it, played on loopback: feeds, arXiv, GitHub's releases; broken ones too.

async with World() as world:
    world.feed("/blog.xml", rss([("One", "About routers.")]), etag='"1"')
    world.answers["/slow"] = some_handler
    ... settings: {"sources": [{"feed": world.url + "/blog.xml"}, {"arxiv": "all:routing", "api_base": world.url}]}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from xml.sax.saxutils import escape

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class World:
    """`answers`: by path. `asked`: (path with query, headers in lower case) in order of arrival."""

    answers: dict[str, Handler] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [path.partition("?")[0] for path, _ in self.asked]

    def feed(
        self,
        path: str,
        body: str | bytes,
        *,
        etag: str | None = None,
        modified: str | None = None,
        content_type: str = "application/rss+xml",
    ) -> None:
        """A document; with `etag` or `modified`, a request that shows it gets 304."""
        data = body.encode() if isinstance(body, str) else body
        marks = {name: value for name, value in (("ETag", etag), ("Last-Modified", modified)) if value}

        async def answer(request: web.Request) -> web.StreamResponse:
            if etag is not None and request.headers.get("If-None-Match") == etag:
                return web.Response(status=304, headers=marks)
            if modified is not None and request.headers.get("If-Modified-Since") == modified:
                return web.Response(status=304, headers=marks)
            return web.Response(body=data, headers={"Content-Type": content_type, **marks})

        self.answers[path] = answer

    def status(self, path: str, status: int, headers: Mapping[str, str] | None = None, body: str = "") -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers=dict(headers or {}), text=body)

        self.answers[path] = answer

    def json(self, path: str, value: Any) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.json_response(value)

        self.answers[path] = answer

    def endless(self, path: str, megabytes: int = 100) -> None:
        """A document that goes on; whoever has had enough closes."""

        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "application/rss+xml"})
            await response.prepare(request)
            await response.write(b"<rss version='2.0'><channel>")
            try:
                for _ in range(megabytes):
                    await response.write(b"<!-- " + b"x" * (1_000_000 - 9) + b" -->")
            except ConnectionError:
                pass
            return response

        self.answers[path] = answer

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path_qs, {name.lower(): value for name, value in request.headers.items()}))
        handler = self.answers.get(request.path)
        return await handler(request) if handler else web.Response(status=404)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()


def rss(items: Sequence[tuple[str, str]], site: str = "https://blog.example.org", first: int = 0) -> str:
    """RSS 2.0; items are (title, text), and their ids count from `first`."""
    parts = [
        f"<item><title>{escape(title)}</title><link>{site}/{first + n}</link>"
        f"<guid isPermaLink='false'>{site}/id/{first + n}</guid><description>{escape(text)}</description>"
        f"<pubDate>Thu, 26 Nov 2026 {n % 24:02}:00:00 GMT</pubDate></item>"
        for n, (title, text) in enumerate(items)
    ]
    head = f"<?xml version='1.0' encoding='utf-8'?><rss version='2.0'><channel><title>A blog</title><link>{site}</link>"
    return f"{head}{''.join(parts)}</channel></rss>"


def arxiv(papers: Sequence[tuple[str, str, str]]) -> str:
    """arXiv's API as Atom; papers are (id with version, title, abstract)."""
    parts = [
        f"<entry><id>http://arxiv.org/abs/{number}</id><updated>2026-11-25T18:00:00Z</updated>"
        f"<published>2026-11-24T18:00:00Z</published><title>{escape(title)}</title><summary>  {escape(abstract)}\n"
        f"</summary><author><name>Ada Lovelace</name></author><link href='http://arxiv.org/abs/{number}' "
        "rel='alternate' type='text/html'/></entry>"
        for number, title, abstract in papers
    ]
    head = "<?xml version='1.0' encoding='UTF-8'?><feed xmlns='http://www.w3.org/2005/Atom'><title>ArXiv Query</title>"
    return f"{head}<id>http://arxiv.org/api/x</id>{''.join(parts)}</feed>"


def release(tag: str, body: str, name: str = "", **more: Any) -> dict[str, Any]:
    """One of GitHub's releases."""
    return {
        "id": 1, "tag_name": tag, "name": name, "draft": False, "prerelease": False, "body": body,
        "html_url": f"https://github.com/acme/router/releases/tag/{tag}", "published_at": "2026-11-25T10:00:00Z",
        **more,
    }  # fmt: skip


BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]>
<rss version="2.0"><channel><title>&d;</title><item><title>&d;</title></item></channel></rss>"""
"""A billion laughs, made small."""
