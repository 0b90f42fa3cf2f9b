"""research: reads feeds, arXiv and GitHub releases for topics, and tells what bears on them.

    sources ── new since last time ── score (local) ── above `relevance` ── not told before ── a model reads it
                                                                                                    │
                 one notification  ── above `notify_above`, untold ── article, entities stored ─────┘

An article is stored the moment it has been read, and what a source listed once all of it has: a run that is cut off
reads nothing twice, and what it has not told yet the next one tells.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Final

from app.agents.base import Agent, AgentContext, AgentResult, Lack
from app.agents.feeds import BadFeed, Item
from app.agents.reading import Reader, Reading
from app.agents.relevance import Scored, Scorer, Stories, from_stored, to_stored, topic_of
from app.agents.sources import PAUSE_SECONDS, Fetched, Fetcher, Source, source_of, unlisted_hosts
from app.config.schema import AgentEntry
from app.memory.embedder import Embedder
from app.memory.entities import EntityRef, NewEntity, NewRelation
from app.memory.hits import IndexUnavailable
from app.store.tables import to_text

RELEVANCE: Final = 0.35
NOTIFY_ABOVE: Final = 0.5
MOST: Final = 20
KEEP_DAYS: Final = 180
MAX_SEEN: Final = 5_000
"""Items remembered of one source beyond those it lists now."""
COMPARED: Final = 300
"""Articles of earlier runs that a new one is compared with."""
IN_INDEX: Final = 0.2
"""How much a text of the workspace's index that is about the same can add to an item's score."""
SHOWN: Final = 10
"""Articles in one notification."""
_OLD = "SELECT key FROM agent_documents WHERE agent = ? AND kind = 'article' AND updated_at < ? LIMIT 500"
_MARKUP = re.compile(r"([\\\[\]*_`<>])")

_TOPIC: Final[Mapping[str, Any]] = {
    "type": ["string", "object"],
    "minLength": 1,
    "maxLength": 500,
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 200},
        "about": {"type": "string", "maxLength": 2_000},
        "keywords": {"type": "array", "maxItems": 50, "items": {"type": "string", "minLength": 2, "maxLength": 100}},
    },
    "required": ["name"],
    "additionalProperties": False,
}
_SOURCE: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "feed": {"type": "string", "pattern": "^https?://[^\\s@]+$", "maxLength": 2_000},
        "arxiv": {"type": "string", "minLength": 1, "maxLength": 500},
        "github": {"type": "string", "pattern": "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$", "maxLength": 200},
        "name": {"type": "string", "minLength": 1, "maxLength": 100},
        "api_base": {"type": "string", "pattern": "^https?://[^\\s@]+$", "maxLength": 500},
    },
    "oneOf": [{"required": ["feed"]}, {"required": ["arxiv"]}, {"required": ["github"]}],
    "additionalProperties": False,
}


@dataclass(slots=True)
class _Tally:
    """What a run came upon."""

    new: int = 0
    duplicates: int = 0
    relevant: list[tuple[Item, float, Reading]] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failed: int = 0


class Research(Agent):
    """Relevance is decided on this machine; a model reads what is left, through the agent's own door."""

    name = "research"
    description = "Reads feeds, arXiv and GitHub releases for your topics, and tells what bears on them."
    settings_schema: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "topics": {"type": "array", "maxItems": 50, "items": _TOPIC},
            "sources": {"type": "array", "maxItems": 200, "items": _SOURCE},
            "relevance": {"type": "number", "minimum": 0, "maximum": 1},
            "notify_above": {"type": "number", "minimum": 0, "maximum": 1},
            "most": {"type": "integer", "minimum": 0, "maximum": 500},
            "pause_seconds": {"type": "number", "minimum": 0, "maximum": 300},
            "keep_days": {"type": "integer", "minimum": 1, "maximum": 3_650},
        },
        "additionalProperties": False,
    }
    rerun_is_safe = True
    reads_private = False

    def __init__(self, embedder: Embedder, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._embedder = embedder
        self._sleep = sleep

    @classmethod
    def lacks(cls, entry: AgentEntry) -> Sequence[Lack]:
        found = []
        if not entry.settings.get("topics"):
            found.append(
                Lack(
                    "`settings.topics`, what you want to know of", "list some in agents.yaml, by name alone if you like"
                )
            )
        sources = _sources(entry.settings)
        if not sources:
            found.append(Lack("`settings.sources`, where to read", "list feeds, arXiv queries or GitHub repositories"))
        found += [
            Lack(f"leave to ask {host or 'a source without a host'}", f"add it to the entry's hosts: [{host}]")
            for host in unlisted_hosts(sources, entry.hosts)
        ]
        return found

    async def run(self, context: AgentContext) -> AgentResult:
        settings = context.settings
        sources = _sources(settings)
        scorer = Scorer([topic_of(entry) for entry in settings.get("topics", ())], self._embedder)
        if not sources or not scorer.topics:
            raise BadFeed("settings.topics and settings.sources must name at least one each")
        pause = float(settings.get("pause_seconds", PAUSE_SECONDS))
        fetcher = Fetcher(context.http, context.state.setdefault("sources", {}), context.now, self._sleep, pause)
        work = _Work(context, scorer, Reader(context, int(settings.get("most", MOST))), await _told_before(context))
        context.progress("reading sources", 0, len(sources))
        done = 0
        async for fetched in fetcher.fetch(sources):
            await work.take(fetched)
            done += 1
            context.progress(f"read {fetched.source.name}", done, len(sources))
        tally = work.tally
        if tally.failed == len(sources):
            raise BadFeed(f"no source could be read: {tally.problems[0]}")
        told = await _tell(context, float(settings.get("notify_above", NOTIFY_ABOVE)))
        await _drop_old(context)
        data = {
            "sources": len(sources), "failed": tally.failed, "new": tally.new, "relevant": len(tally.relevant),
            "duplicates": tally.duplicates, "told": told, "by_meaning": scorer.by_meaning,
        }  # fmt: skip
        return AgentResult(_summary(tally), data, tally.stored)


@dataclass(slots=True)
class _Work:
    """One run's way with what its sources have."""

    context: AgentContext
    scorer: Scorer
    reader: Reader
    stories: Stories
    tally: _Tally = field(default_factory=_Tally)

    async def take(self, fetched: Fetched) -> None:
        """All that is new of one source, best first."""
        if fetched.problem:
            self.tally.problems.append(fetched.problem)
            self.tally.failed += fetched.failed
            self.context.log.warning(fetched.problem)
        if fetched.parsed is None:
            return
        if fetched.parsed.problem:
            self.context.log.info(
                f"{fetched.source.name} has mistakes ({fetched.parsed.problem}) and was read all the same"
            )
        key = hashlib.sha256(fetched.source.url.encode()).hexdigest()[:32]
        seen = list((await self.context.store.get("seen", key) or {}).get("keys", ()))
        listed = [item.key for item in fetched.parsed.items]
        known = set(seen)
        new = [item for item in fetched.parsed.items if item.key not in known]
        if not new:
            return
        self.tally.new += len(new)
        least = float(self.context.settings.get("relevance", RELEVANCE))
        scored = [await self._lifted(one, least) for one in await self.scorer.score(new)]
        for one in sorted((one for one in scored if one.score >= least), key=lambda one: -one.score):
            await self._take_one(one)
        now = set(listed)
        kept = listed + [old for old in seen if old not in now][:MAX_SEEN]
        await self.context.store.put("seen", key, {"source": fetched.source.name, "keys": kept})

    async def _lifted(self, one: Scored, least: float) -> Scored:
        """The score with what the workspace's index adds, where that can make a difference."""
        if one.vector is None or one.score >= 1 or one.score + IN_INDEX < least:
            return one
        try:
            near = await self.context.memory.nearness(one.vector) or 0.0
        except IndexUnavailable:
            return one
        return Scored(one.item, one.topic, min(1.0, one.score + IN_INDEX * max(0.0, near)), one.vector)

    async def _take_one(self, one: Scored) -> None:
        item = one.item
        if await self.context.store.get("article", item.key) is not None:
            return  # another source has it too, or a run that was cut off read it
        if self.stories.knows(one):
            self.tally.duplicates += 1
            return
        self.context.progress(f"reading {item.title}")
        reading = await self.reader.read(item, one.topic)
        await self._keep_entities(item, reading)
        document = {
            "title": item.title, "url": item.url, "source": item.source, "topic": one.topic,
            "score": round(one.score, 3), "summary": reading.summary, "by": reading.by, "text": item.text[:1_000],
            "published": item.published.isoformat() if item.published else None, "authors": list(item.authors),
            "entities": [entity.name for entity in reading.entities][:40], "vector": to_stored(one.vector),
            "told": False,
        }  # fmt: skip
        self.tally.stored.append(await self.context.store.put("article", item.key, document))
        self.tally.relevant.append((item, one.score, reading))
        self.stories.add(item.source, item.title, item.text, one.vector)

    async def _keep_entities(self, item: Item, reading: Reading) -> None:
        article = NewEntity(item.title[:200], "article", reading.summary or None)
        start = EntityRef(article.name, article.kind)
        mentions = [NewRelation(start, EntityRef(entity.name, entity.kind), "mentions") for entity in reading.entities]
        ref = item.url or item.key
        await self.context.graph.upsert(
            [article, *reading.entities], [*reading.relations, *mentions], ref=ref, forget=[ref]
        )


def _sources(settings: Mapping[str, Any]) -> list[Source]:
    found = []
    for entry in settings.get("sources", ()):
        try:
            found.append(source_of(entry))
        except (BadFeed, TypeError):
            continue  # the schema says so, with its field
    return list(dict.fromkeys(found))


async def _told_before(context: AgentContext) -> Stories:
    stories = Stories()
    for found in await context.store.latest("article", limit=COMPARED):
        article = found.document
        stories.add(article["source"], article["title"], article["text"], from_stored(article["vector"]))
    return stories


async def _tell(context: AgentContext, least: float) -> int:
    """One notification of everything that is worth one and was not told; how many articles that are."""
    every = await context.store.latest("article", limit=500)
    waiting = [one for one in every if not one.document["told"] and one.document["score"] >= least]
    if not waiting:
        return 0
    waiting.sort(key=lambda one: (-one.document["score"], one.key))
    first = waiting[0].document
    title = first["title"] if len(waiting) == 1 else f"{len(waiting)} new on {first['topic']} and the like"
    topics = {one.document["topic"] for one in waiting}
    if len(waiting) > 1 and len(topics) == 1:
        title = f"{len(waiting)} new on {first['topic']}"
    lines = [_line(one.document["title"], one.document["url"], one.document["summary"]) for one in waiting[:SHOWN]]
    if len(waiting) > SHOWN:
        lines.append(f"- and {len(waiting) - SHOWN} more")
    links = [
        {"title": one.document["title"], "url": one.document["url"]} for one in waiting[:SHOWN] if one.document["url"]
    ]
    # By what it tells: a run that was cut off between telling and noting it does not tell it again.
    digest = hashlib.sha256(" ".join(sorted(one.key for one in waiting)).encode()).hexdigest()[:32]
    await context.notification_service.notify(title[:200], "\n".join(lines), links=links, dedupe_key=digest)
    for one in waiting:
        await context.store.put("article", one.key, {**one.document, "told": True})
    return len(waiting)


async def _drop_old(context: AgentContext) -> None:
    """Articles beyond `keep_days` go, and what they told the graph. What was seen stays remembered."""
    before = context.now() - timedelta(days=int(context.settings.get("keep_days", KEEP_DAYS)))
    for row in await context.data.query(_OLD, [context.agent, to_text(before)]):
        article = await context.store.get("article", row["key"])
        if article is not None:
            await context.graph.forget([article["url"] or row["key"]])
        await context.store.delete("article", row["key"])


def _summary(tally: _Tally) -> str:
    found = sorted(tally.relevant, key=lambda one: -one[1])
    same = f" ({tally.duplicates} told what was known)" if tally.duplicates else ""
    if not tally.new:
        text = "Nothing new."
    elif not found:
        text = f"{tally.new} new, none of which bears on the topics{same}."
    else:
        lines = [_line(item.title, item.url, reading.summary) for item, _, reading in found]
        text = f"{len(found)} of {tally.new} new bear on the topics{same}:\n\n" + "\n".join(lines)
    if tally.problems:
        text += "\n\nNot read:\n\n" + "\n".join(f"- {problem}" for problem in tally.problems)
    return text


def _line(title: str, url: str, summary: str) -> str:
    shown, said = _escaped(title), _escaped(summary)
    named = f"[{shown}]({url.replace('(', '%28').replace(')', '%29')})" if url else f"**{shown}**"
    return f"- {named}: {said}" if said else f"- {named}"


def _escaped(text: str) -> str:
    """Text from outside as Markdown that is nothing but text."""
    return _MARKUP.sub(r"\\\1", text)
