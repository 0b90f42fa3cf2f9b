"""What a text names, found without a model: paths, addresses, errors, identifiers, quoted and capitalised names. Pure.

Every pattern is linear in the text. Precision before recall: a name that is wrong stays in the graph until somebody
deletes it, one that is missed is found again by the next text or the next model.
"""

from __future__ import annotations

import errno
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from app.memory.entities import EntityRef, NewEntity, NewRelation, normalised

MAX_CHARACTERS: Final = 100_000
MAX_NAMES: Final = 200
MAX_PAIRS: Final = 200
NEAR: Final = 6
"""Of one paragraph so many names are related to each other; a list of a hundred relates nothing."""
_LONGEST: Final = 120

_SUFFIXES: Final = (
    "py|pyi|js|jsx|mjs|ts|tsx|go|rs|java|c|h|cc|cpp|hpp|cs|rb|kt|swift|md|rst|txt|yaml|yml|json|toml|ini|cfg|sql|sh"
    "|html|css|ipynb|csv|proto|lock|xml|gradle"
)
_PATTERNS: Final = (
    ("url", re.compile(r"\bhttps?://[^\s<>\"'`)\]}]{3,300}")),
    ("file", re.compile(rf"(?<![\w/.:])(?:\.{{0,2}}/)?(?:[\w@~-][\w.@~-]{{0,60}}/){{1,12}}[\w@-][\w.@-]{{0,60}}"
                        rf"|(?<![\w/.])[\w-]{{1,60}}\.(?:{_SUFFIXES})(?![\w/])")),
    ("error", re.compile(r"\b[A-Z]\w{1,60}(?:Error|Exception|Warning|Fault|Interrupt)\b|\bE[A-Z0-9]{3,14}\b")),
    ("function", re.compile(r"(?<![\w.])(?:[A-Za-z_]\w{1,60}\.){0,4}[A-Za-z_]\w{2,60}(?=\(\))")),
    ("class", re.compile(r"\b(?:[A-Z][a-z0-9]{1,30}){2,6}(?:[A-Z]{1,4})?\b|\b[A-Z]{2,8}[a-z][a-z0-9]{1,30}"
                         r"(?:[A-Z][a-z0-9]{1,30}){0,5}\b")),
    ("constant", re.compile(r"\b[A-Z][A-Z0-9]{1,30}(?:_[A-Z0-9]{1,30}){1,6}\b")),
    ("identifier", re.compile(r"\b[a-z][a-z0-9]{0,30}(?:_[a-z0-9]{1,30}){1,6}\b"
                              r"|\b[a-z]{2,20}(?:[A-Z][a-z0-9]{1,20}){1,5}\b")),
    ("concept", re.compile(r"`([^`\n]{2,60})`|[\"“]([A-Z][^\"“”\n]{1,59})[\"”]")),
    ("concept", re.compile(r"\b[A-Z][a-zà-ÿ]{1,30}(?:[ -](?:(?:of|the|de|van|von|for) )?"
                           r"[A-Z][a-zà-ÿ]{1,30}){1,3}\b")),
)  # fmt: skip
"""By kind, the surest first: what one has taken no later one takes."""
_ERRNO: Final = frozenset(errno.errorcode.values())
_OPENERS: Final = frozenset(
    re.findall(
        r"\w+",
        """the this that these those when where while what which who why how if in on at for from and but or so then it
        we you he she they there here i my our your his her their its a an as by to of with after before since once also
        however please let make use using see note do does did is are was were can could will would should may""",
    )
)
_PARAGRAPH: Final = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class Mentions:
    """What was found, in the order of the text."""

    entities: tuple[NewEntity, ...] = ()
    relations: tuple[NewRelation, ...] = ()


def mentions_in(text: str) -> Mentions:
    """At most `MAX_NAMES` names of the first `MAX_CHARACTERS`, related where they stand in one paragraph."""
    counts: Counter[EntityRef] = Counter()
    shown: dict[EntityRef, EntityRef] = {}
    pairs: Counter[tuple[EntityRef, EntityRef]] = Counter()
    for paragraph in _PARAGRAPH.split(text[:MAX_CHARACTERS]):
        near: list[EntityRef] = []
        for ref in _names(paragraph):
            key = shown.setdefault(EntityRef(normalised(ref.name), ref.kind), ref)
            if key in counts or len(counts) < MAX_NAMES:
                counts[key] += 1
                near.append(key)
        for pair in combinations(dict.fromkeys(near[:NEAR]), 2):
            if pair in pairs or len(pairs) < MAX_PAIRS:
                pairs[pair] += 1
    return Mentions(
        tuple(NewEntity(ref.name, ref.kind, mentions=count) for ref, count in counts.items()),
        tuple(NewRelation(one, other, "mentioned_with", float(count)) for (one, other), count in pairs.items()),
    )


def occurring(text: str, entities: Sequence[NewEntity]) -> list[NewEntity]:
    """Those whose name stands in the text, with how often it does."""
    folded = _folded(text)
    found = []
    for entity in entities:
        wanted = normalised(entity.name)
        if wanted and (count := folded.count(wanted)):
            found.append(NewEntity(entity.name, entity.kind, entity.summary, mentions=count))
    return found


def _folded(text: str) -> str:
    # The quotes that `normalised` rounds off stand inside the text.
    return f" {normalised(text)} "


def _names(paragraph: str) -> Iterator[EntityRef]:
    taken = bytearray(len(paragraph))
    found: list[tuple[int, EntityRef]] = []
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(paragraph):
            start, end = match.span()
            group = next((i for i, value in enumerate(match.groups(), 1) if value is not None), 0)
            name = _tidy(kind, match.group(group))
            if any(taken[start:end]) or name is None:
                continue
            taken[start:end] = b"\1" * (end - start)
            found.append((start, EntityRef(name, _kind(kind, name))))
    yield from (ref for _, ref in sorted(found, key=lambda f: f[0]))


def _tidy(kind: str, name: str) -> str | None:
    """The name as it is kept; None for what only looks like one."""
    if kind == "url":
        # What follows may be a key, and what precedes a host a password.
        scheme, _, rest = re.split(r"[?#]", name, maxsplit=1)[0].partition("://")
        name = f"{scheme}://{rest.rpartition('@')[2] if '@' in rest.split('/')[0] else rest}"
    name = name.rstrip(".,;:!?-")
    if kind == "error" and name.isupper() and name not in _ERRNO:
        return None
    if kind == "file" and name.count("/") and not re.search(r"[A-Za-z]{2}", name):
        return None  # 3/4, 1/2
    if kind == "file" and "." not in name and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return None  # and/or, read/write
    if kind == "concept":
        words = name.split()
        while words and words[0].lower() in _OPENERS:
            words = words[1:]
        name = " ".join(words)
        if len(words) < 2 and name.isalpha() and name.islower():
            return None  # `code`
    return name if 2 <= len(name) <= _LONGEST and any(c.isalpha() for c in name) else None


def _kind(kind: str, name: str) -> str:
    if kind != "concept" or " " in name:
        return kind
    return "identifier" if re.fullmatch(r"[\w.]+", name) else kind
