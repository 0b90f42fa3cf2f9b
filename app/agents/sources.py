"""Where an agent reads, and how politely: one host at a time, with pauses, and nothing twice that has not changed.

sources ── by host ── pause ── GET with If-None-Match, If-Modified-Since ── 200: items
                        │                                                 ├ 304: nothing new
                        └ asked to wait until later: left for another run  └ 429, 503: Retry-After is remembered
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlencode, urlsplit

from app.agents.base import OutsideHttp, OutsideResponse
from app.agents.feeds import BadFeed, Parsed, read_feed, read_releases
from app.errors import SidecarError
from app.llm.egress import is_localhost, normal_host, parse_ip

Kind: TypeAlias = Literal["feed", "arxiv", "github"]

MAX_BYTES: Final = 5_000_000
"""Of one document. The largest feeds in use have a tenth of it."""
PAUSE_SECONDS: Final = 3.0
"""Between two requests to one host: what arXiv asks for (info.arxiv.org/help/api/tou.html)."""
HOSTS_AT_ONCE: Final = 4
WAIT_SECONDS: Final = 900.0
"""After a 429 or 503 that does not say how long."""
MOST_WAIT: Final = timedelta(days=1)
ARXIV: Final = "https://export.arxiv.org"
GITHUB: Final = "https://api.github.com"
PAPERS: Final = 100
RELEASES: Final = 30


@dataclass(frozen=True, slots=True)
class Source:
    """`what`: a feed's URL, a query in arXiv's language, or `owner/repository`. `base`: the API's address."""

    kind: Kind
    what: str
    base: str = ""
    label: str = ""

    @property
    def name(self) -> str:
        if self.label:
            return self.label
        return urlsplit(self.what).hostname or "feed" if self.kind == "feed" else f"{self.kind} {self.what}"[:200]

    @property
    def url(self) -> str:
        """What is asked."""
        if self.kind == "feed":
            return self.what
        if self.kind == "github":
            return f"{(self.base or GITHUB).rstrip('/')}/repos/{self.what}/releases?per_page={RELEASES}"
        asked = {"search_query": self.what, "sortBy": "submittedDate", "sortOrder": "descending", "max_results": PAPERS}
        return f"{(self.base or ARXIV).rstrip('/')}/api/query?{urlencode(asked)}"

    @property
    def host(self) -> str:
        try:
            return normal_host(urlsplit(self.url).hostname or "")
        except ValueError:
            return ""

    def read(self, response: OutsideResponse) -> Parsed:
        """Raises `BadFeed`."""
        if self.kind == "github":
            return read_releases(response.body, self.what)
        return read_feed(response.body, response.headers, self.name, response.url)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of one source. `parsed` None: it has nothing new, or `problem` says why it could not be read.

    `failed`: it is broken, rather than asking for patience.
    """

    source: Source
    parsed: Parsed | None = None
    problem: str = ""
    failed: bool = False


def source_of(entry: Mapping[str, Any]) -> Source:
    """Out of an entry of `sources`, which fits its schema."""
    for kind in ("feed", "arxiv", "github"):
        if kind in entry:
            return Source(kind, str(entry[kind]), str(entry.get("api_base", "")), str(entry.get("name", "")))
    raise BadFeed("a source names a feed, an arxiv query or a github repository")


def unlisted_hosts(sources: Sequence[Source], hosts: Sequence[str]) -> list[str]:
    """Hosts of sources that the entry's `hosts` do not allow; this machine needs no leave."""
    patterns = [normal_host(pattern) for pattern in hosts]
    wanted = dict.fromkeys(source.host for source in sources)
    outside = [host for host in wanted if not _is_this_machine(host)]
    return [host for host in outside if not any(fnmatch.fnmatchcase(host, pattern) for pattern in patterns)]


def _is_this_machine(host: str) -> bool:
    address = parse_ip(host)
    return is_localhost(host) or (address is not None and address.is_loopback)


@dataclass(slots=True)
class Fetcher:
    """One run's. `kept` is the run's own state: by URL `etag`, `modified`, and `not_before` (ISO 8601)."""

    http: OutsideHttp
    kept: dict[str, Any]
    now: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    pause_seconds: float = PAUSE_SECONDS
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(HOSTS_AT_ONCE))

    async def fetch(self, sources: Sequence[Source]) -> AsyncIterator[Fetched]:
        """Each source's, as they come. Hosts are asked side by side, the sources of one host one after the other."""
        self._forget_others(sources)
        by_host: dict[str, list[Source]] = defaultdict(list)
        for source in sources:
            by_host[source.host].append(source)
        # Of one document: whoever reads slowly is not run ahead of, and memory holds a few documents and no more.
        found: asyncio.Queue[Fetched] = asyncio.Queue(maxsize=1)
        tasks = [asyncio.create_task(self._host(some, found)) for some in by_host.values()]
        try:
            for _ in sources:
                yield await found.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _host(self, sources: Sequence[Source], found: asyncio.Queue[Fetched]) -> None:
        async with self._room:
            asked = False
            for source in sources:
                if (until := self._not_before(source.url)) is not None:
                    await found.put(
                        Fetched(source, problem=f"{source.name} asked not to be read before {until:%H:%M} UTC")
                    )
                    continue
                if asked and self.pause_seconds:
                    await self.sleep(self.pause_seconds)
                asked = True
                await found.put(await self._one(source))

    async def _one(self, source: Source) -> Fetched:
        known = self.kept.get(source.url, {})
        headers = {"Accept": "application/vnd.github+json" if source.kind == "github" else "*/*"}
        if known.get("etag"):
            headers["If-None-Match"] = known["etag"]
        if known.get("modified"):
            headers["If-Modified-Since"] = known["modified"]
        try:
            response = await self.http.get(source.url, headers=headers, max_bytes=MAX_BYTES)
            return await self._answered(source, response)
        except SidecarError as error:
            return Fetched(source, problem=f"{source.name}: {error.detail}", failed=True)
        except Exception as error:  # a reader that breaks over a hostile document takes no other source with it
            return Fetched(source, problem=f"{source.name}: it cannot be read ({type(error).__name__})", failed=True)

    async def _answered(self, source: Source, response: OutsideResponse) -> Fetched:
        if response.status == 304:
            return Fetched(source)
        limited = response.status == 403 and response.headers.get("x-ratelimit-remaining") == "0"
        if response.status in (429, 503) or limited:
            until = self._wait(source.url, response.headers)
            return Fetched(
                source, problem=f"{source.name} is busy ({response.status}); it is read again after {until:%H:%M} UTC"
            )
        if response.status != 200:
            return Fetched(source, problem=f"{source.name}: it answered with status {response.status}", failed=True)
        parsed = await asyncio.to_thread(source.read, response)
        marks = {"etag": response.headers.get("etag"), "modified": response.headers.get("last-modified")}
        self.kept[source.url] = {name: value[:500] for name, value in marks.items() if value}
        return Fetched(source, parsed)

    def _wait(self, url: str, headers: Mapping[str, str]) -> datetime:
        now = self.now()
        until = min(retry_at(headers, now), now + MOST_WAIT)
        self.kept[url] = {**self.kept.get(url, {}), "not_before": until.isoformat()}
        return until

    def _not_before(self, url: str) -> datetime | None:
        text = self.kept.get(url, {}).get("not_before")
        until = datetime.fromisoformat(text) if text else None
        # A clock that was set back must not shut a source for longer than it asked.
        return until if until is not None and self.now() < until <= self.now() + MOST_WAIT else None

    def _forget_others(self, sources: Sequence[Source]) -> None:
        wanted = {source.url for source in sources}
        for url in [url for url in self.kept if url not in wanted]:
            del self.kept[url]


def retry_at(headers: Mapping[str, str], now: datetime) -> datetime:
    """When to ask again: `Retry-After` in seconds or as a date, GitHub's `X-RateLimit-Reset`, else in a while."""
    given = headers.get("retry-after", "").strip()
    if given.isdigit():
        return now + min(timedelta(seconds=int(given[:9])), MOST_WAIT)
    try:
        return max(parsedate_to_datetime(given).astimezone(UTC), now)
    except (ValueError, TypeError, OverflowError):
        pass
    reset = headers.get("x-ratelimit-reset", "")
    if reset.isdigit() and len(reset) < 12:
        return max(datetime.fromtimestamp(int(reset), UTC), now)
    return now + timedelta(seconds=WAIT_SECONDS)
