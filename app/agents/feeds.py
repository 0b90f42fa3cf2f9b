"""Documents of the world outside as items: RSS, Atom, arXiv's API, GitHub's releases. Pure.

    bytes ── entity declarations refused ── feedparser ── text without markup, bounded ── items

Whoever writes a feed may write anything: what is read here is bounded in number and length, its markup is taken off,
and a link that is no http(s) URL is dropped. The text stays material: it is fenced before a model sees it.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
from calendar import timegm
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from xml.sax import SAXException
from xml.sax.handler import ContentHandler

import orjson
from defusedxml import DefusedXmlException
from defusedxml.sax import parse as parse_sax

from app.errors import SidecarError

MAX_ITEMS: Final = 1_000
"""Of one document; the first ones, which are the newest as feeds are written."""
MAX_TITLE: Final = 300
MAX_TEXT: Final = 4_000
MAX_AUTHORS: Final = 10

_TAG = re.compile(r"<[^<>]{1,2000}>")
_SPACE = re.compile(r"\s+")
_ARXIV = re.compile(r"arxiv\.org/abs/([^?#\s]+?)(?:v\d+)?$")


class BadFeed(SidecarError):
    """What a source answered is not what it should be."""

    status, code, title = 502, "bad_feed", "Unreadable source"


@dataclass(frozen=True, slots=True)
class Item:
    """One article, paper or release. `key`: its identity wherever it is found, 32 hexadecimal digits.

    `text` is plain: what the source says of it. `url` is empty or http(s). `published` is UTC.
    """

    key: str
    source: str
    url: str
    title: str
    text: str
    published: datetime | None = None
    authors: tuple[str, ...] = ()

    @property
    def whole(self) -> str:
        return f"{self.title}\n{self.text}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """`problem`: what is wrong with a document that could be read all the same; empty where nothing is."""

    items: tuple[Item, ...]
    problem: str = ""


def read_feed(body: bytes, headers: Mapping[str, str], source: str, url: str) -> Parsed:
    """The items of an RSS or Atom document, of arXiv's API among them. Raises `BadFeed`.

    A document with mistakes (not well-formed, another encoding than it says) is read as far as it goes.
    """
    import feedparser  # here: 0.1 s that no start-up pays

    _refuse_entities(body)
    # A stream: what is given as bytes feedparser may take for the name of a file.
    shown = {name: headers[name] for name in ("content-type",) if name in headers}
    found = feedparser.parse(io.BytesIO(body), response_headers={**shown, "content-location": url})
    entries = found.get("entries", [])
    if not entries and not found.get("version"):
        raise BadFeed(f"{source}: this is no RSS or Atom feed")
    items = tuple(item for entry in entries[:MAX_ITEMS] if (item := _item(entry, source)) is not None)
    problem = type(found["bozo_exception"]).__name__ if found.get("bozo") and "bozo_exception" in found else ""
    return Parsed(_once(items), problem)


def read_releases(body: bytes, source: str) -> Parsed:
    """GitHub's `GET /repos/{owner}/{repo}/releases`. Drafts are left out. Raises `BadFeed`."""
    try:
        releases = orjson.loads(body)
    except ValueError:
        raise BadFeed(f"{source}: the answer is no JSON") from None
    if not isinstance(releases, list):
        raise BadFeed(f"{source}: the answer is no list of releases")
    items = []
    for release in releases[:MAX_ITEMS]:
        if not isinstance(release, dict) or release.get("draft"):
            continue
        tag, url = _plain(release.get("tag_name"), 200), _url(release.get("html_url"))
        identity = url or (f"{source} {tag}" if tag else "")
        if identity:
            name = _plain(release.get("name"), MAX_TITLE) or tag
            title = name if tag in name else f"{name} ({tag})"
            published = _iso(release.get("published_at"))
            text = _plain(release.get("body"), MAX_TEXT)
            items.append(Item(_key(identity), source, url, f"{source}: {title}"[:MAX_TITLE], text, published))
    return Parsed(_once(items))


def _refuse_entities(body: bytes) -> None:
    """A document that declares entities has no business here: a few hundred bytes of them can mean gigabytes."""
    try:
        parse_sax(io.BytesIO(body), ContentHandler(), forbid_dtd=False, forbid_entities=True, forbid_external=True)
    except DefusedXmlException as error:
        raise BadFeed(f"the document was refused: {type(error).__name__}") from None
    except (SAXException, ValueError, LookupError):
        return  # not well-formed: feedparser's lenient reader expands nothing


def _item(entry: Any, source: str) -> Item | None:
    url = _url(entry.get("link"))
    title = _plain(entry.get("title"), MAX_TITLE)
    bodies = [content.get("value") for content in entry.get("content", []) if isinstance(content, dict)]
    text = max((_plain(body, MAX_TEXT) for body in (entry.get("summary"), *bodies)), key=len)
    given = _plain(entry.get("id"), 1_000)
    arxiv = _ARXIV.search(given) or _ARXIV.search(url)
    if arxiv:
        identity = f"arxiv:{arxiv.group(1).lower()}"
    else:
        # Two feeds may number their items alike ("1", "2"): only an id that is a URL or a URN stands alone.
        identity = (given if ":" in given else "") or url or (f"{source} {given or title}" if given or title else "")
    if not identity or not (title or text):
        return None
    names = [_plain(author.get("name"), 120) for author in entry.get("authors", []) if isinstance(author, dict)]
    moment = entry.get("published_parsed") or entry.get("updated_parsed")
    authors = tuple(name for name in names if name)[:MAX_AUTHORS]
    return Item(_key(identity), source, url, title or text[:80], text, _moment(moment), authors)


def _once(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple({item.key: item for item in reversed(tuple(items))}.values())[::-1]


def _key(identity: str) -> str:
    return hashlib.sha256(identity.strip().encode("utf-8", "replace")).hexdigest()[:32]


def _plain(value: object, most: int) -> str:
    """Text without markup, on one line, of at most `most` characters."""
    if not isinstance(value, str):
        return ""
    text = html.unescape(_TAG.sub(" ", value[: most * 8]))
    text = _SPACE.sub(" ", text.encode("utf-8", "replace").decode()).strip()
    return "".join(c for c in text[:most] if c.isprintable())


def _url(value: object) -> str:
    if not isinstance(value, str) or len(value) > 2_000 or not value.startswith(("http://", "https://")):
        return ""
    return "" if any(c.isspace() or c in "<>\"'`\\" or not c.isprintable() for c in value) else value


def _moment(parts: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(timegm(parts), UTC) if parts else None
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def _iso(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
