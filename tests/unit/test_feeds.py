"""Documents of the world outside, well made and badly, become items."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents.feeds import MAX_ITEMS, MAX_TEXT, BadFeed, Parsed, read_feed, read_releases
from app.agents.sources import MOST_WAIT, Source, retry_at, unlisted_hosts
from tests.fakes.world import BOMB, arxiv, release, rss

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def read(body: str | bytes, content_type: str = "application/rss+xml") -> Parsed:
    data = body.encode() if isinstance(body, str) else body
    return read_feed(data, {"content-type": content_type}, "a blog", "https://blog.example.org/feed")


def test_rss_becomes_items_without_markup() -> None:
    (item,) = read(rss([("Routers <b>& more</b>", "<p>One &amp; <script>two()</script> three</p>")])).items
    assert item.title == "Routers & more"
    assert item.text == "One & three"
    assert item.url == "https://blog.example.org/0"
    assert item.published == datetime(2026, 11, 26, 0, tzinfo=UTC)


def test_a_paper_is_one_paper_in_every_version() -> None:
    first, second = (read(arxiv([(f"2611.01234v{v}", "Routing", "We route.")]), "application/atom+xml") for v in (1, 2))
    assert first.items[0].key == second.items[0].key
    assert first.items[0].authors == ("Ada Lovelace",)
    assert first.items[0].text == "We route."


def test_releases() -> None:
    releases = [release("v2.0", "Faster.", "Two"), release("v1.0", "First."), {**release("v3", ""), "draft": True}, 7]
    found = read_releases(json.dumps(releases).encode(), "acme/router").items
    assert [item.title for item in found] == ["acme/router: Two (v2.0)", "acme/router: v1.0"]
    assert found[0].published == datetime(2026, 11, 25, 10, tzinfo=UTC)


@pytest.mark.parametrize("body", [b"", b"{", b'{"message": "Not Found"}', b"\xff\xfe"])
def test_what_is_no_list_of_releases_is_refused(body: bytes) -> None:
    with pytest.raises(BadFeed):
        read_releases(body, "acme/router")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entity_bombs_are_refused(encoding: str) -> None:
    body = BOMB.replace('version="1.0"', f'version="1.0" encoding="{encoding}"').encode(encoding)
    with pytest.raises(BadFeed, match="EntitiesForbidden"):
        read(body)


def test_a_bomb_that_is_not_even_xml_expands_nothing() -> None:
    found = read("\n <<" + BOMB.replace("&d;", "&d; told"))  # given up before the declarations
    assert all(len(item.whole) < 500 for item in found.items)


def test_an_external_entity_is_refused() -> None:
    declared = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    body = f'{declared}<rss version="2.0"><channel><title>&x;</title></channel></rss>'
    with pytest.raises(BadFeed):
        read(body)


def test_an_article_may_write_about_entities() -> None:
    (item,) = read(rss([("XML", "Never write <!ENTITY a 'b'> in a feed.")])).items
    assert "in a feed" in item.text


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (rss([("Größe", "Über Router")]).encode("latin-1"), "application/rss+xml; charset=iso-8859-1"),
        (rss([("Größe", "Über Router")]).encode("latin-1"), "application/rss+xml"),  # it says utf-8, and is not
        (rss([("Größe", "Über Router")]).encode("utf-8"), "text/xml; charset=us-ascii"),
    ],
)
def test_other_encodings_than_it_says(body: bytes, content_type: str) -> None:
    (item,) = read(body, content_type).items
    assert item.url == "https://blog.example.org/0"
    assert "Router" in item.text


def test_bad_xml_is_read_as_far_as_it_goes() -> None:
    found = read(rss([("One", "a & b"), ("Two", "c")]).replace("&amp;", "&").replace("</channel></rss>", ""))
    assert [item.title for item in found.items] == ["One", "Two"]
    assert found.problem


@pytest.mark.parametrize("body", ["", "<html><body>Not found</body></html>", "plain words", "\x00\x01\x02"])
def test_what_is_no_feed_is_refused(body: str) -> None:
    with pytest.raises(BadFeed, match="no RSS or Atom"):
        read(body, "text/html")


def test_items_and_their_texts_are_bounded() -> None:
    found = read(rss([(f"Item {n}", "word " * 3_000) for n in range(MAX_ITEMS + 50)]))
    assert len(found.items) == MAX_ITEMS
    assert max(len(item.text) for item in found.items) <= MAX_TEXT


@pytest.mark.parametrize("link", ["javascript:alert(1)", "file:///etc/passwd", "https://a.example/ b", "data:x"])
def test_links_that_are_no_web_addresses_are_dropped(link: str) -> None:
    body = rss([("One", "a")]).replace("<link>https://blog.example.org/0</link>", f"<link>{link}</link>")
    assert all(" " not in item.url and not item.url.startswith(("java", "file", "data")) for item in read(body).items)


@given(st.binary(max_size=2_000))
def test_whatever_comes_is_items_or_a_sentence(body: bytes) -> None:
    readers: list[Callable[[], Parsed]] = [lambda: read(body), lambda: read_releases(body, "a/b")]
    for reader in readers:
        with suppress(BadFeed):
            assert all(item.key and (item.title or item.text) for item in reader().items)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120), ({"retry-after": "Thu, 26 Nov 2026 12:10:00 GMT"}, 600), ({}, 900),
        ({"retry-after": "soon"}, 900), ({"retry-after": "Thu, 26 Nov 2020 12:10:00 GMT"}, 0),
        ({"retry-after": "9" * 30}, MOST_WAIT.total_seconds()),
        ({"x-ratelimit-reset": str(int((NOW + timedelta(minutes=7)).timestamp()))}, 420),
    ],
)  # fmt: skip
def test_when_to_ask_again(headers: dict[str, Any], seconds: float) -> None:
    assert retry_at(headers, NOW) == NOW + timedelta(seconds=seconds)


def test_what_is_asked_and_which_hosts_that_needs() -> None:
    sources = [
        Source("arxiv", "cat:cs.CL AND all:routing"),
        Source("github", "acme/router"),
        Source("feed", "http://[::1]/x"),
    ]
    assert "search_query=cat%3Acs.CL+AND+all%3Arouting&sortBy=submittedDate" in sources[0].url
    assert sources[1].url == "https://api.github.com/repos/acme/router/releases?per_page=30"
    assert unlisted_hosts(sources, ["*.arxiv.org"]) == ["api.github.com"]
