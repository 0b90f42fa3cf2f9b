"""Text into passages, and passages by how well they fit a query: Okapi BM25 over words and parts of identifiers.

Pure and linear in the size of the text: `app.llm.extractive` runs it over a whole context window.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

CODE_LINES = 32
"""Most lines of code in one passage."""
PROSE_CHARACTERS = 1200
"""Most characters of one passage, unless a single line is longer."""

_K1, _B = 1.2, 0.75
"""BM25's usual constants (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009)."""
_CODE_WEIGHT = 1.25
"""A question to a coding assistant is mostly answered by a named place in the code."""
_LIST_WEIGHT = 0.4
"""A list of what the workspace knows of names much and answers little; it goes behind the code it points at."""
_LEAST_SHARE = 0.3
"""A passage that scores less than this share of the best one is noise beside it."""
_LONGEST_WORD = 80
"""Longer runs of letters are data (base64, minified code), not words."""
_LONGEST_LABEL = 240
"""A line longer than this is text, not a heading or a tag."""

_WORD = re.compile(r"\w+")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_A-Za-z]+")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_TAG = re.compile(r"\s*<(/?)[A-Za-z][\w-]*((?:\s+[\w-]+=\"[^\"]*\")*)\s*>\s*$")
_PATH = re.compile(r"(?<![\w/.])(?:[A-Za-z]:)?[/\\]?(?:[\w.@~-]+[/\\])*[\w@-][\w.@-]*\.[A-Za-z]\w{0,9}(?!\w)")
_LINES = re.compile(r"(?:\blines\W{1,3}|:|#L|start_line=\"|\()(\d{1,7})")
_OWN_HEADING = re.compile(r"(Open file|Code from) (.+?)(?: \(cursor at line \d+\)|, lines (\d{1,7})–\d+)?:\s*")
"""How `app.context.gather` names a file, which is given from its first line on, and a piece of one."""
_LISTINGS = frozenset({"Known entities:", "Related entities:"})
"""How `app.context.render` heads them."""
_PROSE_SUFFIXES = (".md", ".markdown", ".txt", ".rst", ".adoc", ".log")
_OMITTED = re.compile(r"\[lines? (\d{1,7})(?:–(\d{1,7}))? omitted\]")
"""Stands for lines left out (`app.context.trim`)."""
_STOP_WORDS = frozenset(
    _WORD.findall(
        """a about after all also am an and any are as at be been but by can could did do does for from get had has
        have he her his how i if in into is it its me my no not of on or our please she should so some such than that
        the their them then there these they this those to up us was we were what when where which who why will with
        would you your"""
    )
)


@dataclass(frozen=True, slots=True)
class Passage:
    """Consecutive lines of one message, verbatim. `line` is the 1-based number of the first one in `path`.

    `given` tells material (in a fence or a tag) from what people and prompts say in their own words; `code` is
    material that names a language or a file that is not prose. `piece`: which of the message's pieces of code it comes
    from, where somebody looked these up; they stand weakest first. `listing`: known entities, line by line.
    """

    text: str
    path: str | None = None
    line: int | None = None
    given: bool = False
    code: bool = False
    piece: int | None = None
    listing: bool = False

    @property
    def last_line(self) -> int | None:
        return None if self.line is None else self.line + self.text.count("\n")


@dataclass(frozen=True, slots=True)
class _Label:
    """What a heading, a tag or a fence says about the lines under it."""

    path: str | None = None
    line: int | None = None
    given: bool = False
    found: bool = False
    piece: int | None = None
    listing: bool = False


def terms(text: str) -> Iterator[str]:
    """The words of a text for matching: lower case, stemmed a little, stop words left out.

    Identifiers give themselves and their parts (`getUserName` and `get_user_name`: get, user, name); Chinese,
    Japanese and Korean, which have no spaces, give pairs of characters.
    """
    for match in _WORD.finditer(text):
        word = match.group()
        if len(word) > _LONGEST_WORD:
            continue
        if _CJK.search(word):
            yield from (word[i : i + 2] for i in range(max(1, len(word) - 1)))
            continue
        parts = _PART.findall(word)
        if len(parts) > 1:
            yield word.lower()
        for part in parts:
            lowered = part.lower()
            if lowered not in _STOP_WORDS:
                yield _stem(lowered)


def _stem(word: str) -> str:
    """Plurals and -ing/-ed forms meet their stem: enough for matching, never shown."""
    for suffix in ("ing", "ed", "es", "s"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and not word.endswith("ss"):
            return word[: -len(suffix)].removesuffix("e")
    return word.removesuffix("e") if len(word) > 3 else word


def split(text: str) -> list[Passage]:
    """A message's text into passages: fenced and tagged parts with their path, the rest as paragraphs."""
    passages: list[Passage] = []
    prose: list[str] = []
    label = _Label()
    pieces = 0
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        fence = _FENCE.match(line)
        tag = _TAG.match(line) if len(line) <= _LONGEST_LABEL else None
        if fence is not None:
            end = _closing(lines, at + 1, fence.group(1))
            named = _fence_label(line[fence.end() :], prose, label)
            if named.found:
                named, pieces = replace(named, piece=pieces), pieces + 1
            passages += _prose(prose, label)
            code = bool(line[fence.end() :].strip()) or _names_code(named)
            passages += _code(lines[at + 1 : end], named, code=code)
            prose, at = [], end
        elif tag is not None:
            passages += _prose(prose, label)
            prose = []
            label = _Label() if tag.group(1) else replace(_read_label(tag.group(2)), given=True)
        else:
            prose.append(line)
        at += 1
    return [*passages, *_prose(prose, label)]


def _closing(lines: Sequence[str], start: int, fence: str) -> int:
    """Index of the line that closes a fence, or the end of the text: an open fence runs to the end."""
    for at in range(start, len(lines)):
        if lines[at].lstrip(" ").startswith(fence) and not lines[at].strip().strip(fence[0]):
            return at
    return len(lines)


def _read_label(text: str) -> _Label:
    """Path and first line from a heading such as `app/x.py:10-20` or `path="app/x.py" lines="10-20"`.

    The line stays None where the heading does not say it: no number is better than a wrong one.
    """
    if len(text) > _LONGEST_LABEL:
        return _Label()
    if text.strip() in _LISTINGS:
        return _Label(listing=True)
    if (own := _OWN_HEADING.fullmatch(text)) is not None:
        first = own.group(3) or ("1" if own.group(1) == "Open file" else None)
        return _Label(own.group(2), int(first) if first else None, found=own.group(1) == "Code from")
    path = _PATH.search(text)
    if path is None:
        return _Label()
    line = _LINES.search(text, path.end())
    return _Label(path.group(), int(line.group(1)) if line else None)


def _fence_label(info: str, prose: list[str], label: _Label) -> _Label:
    """A fence is named by its info string, else by the heading above it (taken out of `prose`), else by its tag."""
    named = _read_label(info)
    if named.path is not None:
        return named
    above = next((i for i in range(len(prose) - 1, -1, -1) if prose[i].strip()), None)
    if above is None:
        return label
    heading = _read_label(prose[above])
    if heading.path is not None or (above == len(prose) - 1 and prose[above].rstrip().endswith(":")):
        del prose[above:]
    return heading if heading.path is not None or heading.listing else label


def _code(lines: Sequence[str], label: _Label, *, code: bool) -> Iterator[Passage]:
    """Code in passages of at most `CODE_LINES`, cut where a top-level line follows a blank one if there is such.

    A passage never spans lines that were left out, and the numbers after them count them.
    """
    first = label.line
    start = 0
    while start < len(lines):
        if (omitted := _OMITTED.fullmatch(lines[start])) is not None:
            if first is not None:  # the marker is one line itself
                first += int(omitted.group(2) or omitted.group(1)) - int(omitted.group(1))
            start += 1
            continue
        end = _cut(lines, start)
        text = [at for at in range(start, end) if lines[at].strip()]
        if text:
            number = None if first is None else first + text[0]
            whole = "\n".join(lines[text[0] : text[-1] + 1])
            yield Passage(whole, label.path, number, given=True, code=code, piece=label.piece, listing=label.listing)
        start = end


def _cut(lines: Sequence[str], start: int) -> int:
    """Where the passage that begins at `start` ends: the last good seam, else after `CODE_LINES`."""
    size, seam = 0, None
    for at in range(start, len(lines)):
        line = lines[at]
        if _OMITTED.fullmatch(line):
            return at
        if at > start and line[:1].strip() and not lines[at - 1].strip():
            seam = at
        size += len(line) + 1
        if at - start >= CODE_LINES or (size > 2 * PROSE_CHARACTERS and at > start):
            return seam if seam is not None and seam - start >= CODE_LINES // 4 else at
    return len(lines)


def _names_code(label: _Label) -> bool:
    return label.path is not None and not label.path.lower().endswith(_PROSE_SUFFIXES)


def _prose(lines: Sequence[str], label: _Label) -> Iterator[Passage]:
    """Paragraphs; under a tag that names a file, pieces of it."""
    if label.path is not None:
        yield from _code(lines, label, code=_names_code(label))
        return
    paragraph: list[str] = []
    size = 0
    for line in (*lines, ""):
        if paragraph and (not line.strip() or size + len(line) > PROSE_CHARACTERS):
            yield Passage("\n".join(paragraph), given=label.given)
            paragraph, size = [], 0
        if line.strip():
            paragraph.append(line)
            size += len(line) + 1


def rank(passages: Sequence[Passage], query: str) -> list[Passage]:
    """Those that fit the query, best first; ties in their given order. Empty where none shares a word with it.

    A piece of code that a search found counts for more the better the search thought it: it also went by meaning, of
    which words alone know nothing.
    """
    wanted = set(terms(query))
    if not wanted or not passages:
        return []
    counted = [Counter(terms(f"{p.path}\n{p.text}" if p.path else p.text)) for p in passages]
    lengths = [c.total() for c in counted]
    average = max(1.0, sum(lengths) / len(lengths))
    weights = {term: _idf(sum(term in c for c in counted), len(passages)) for term in sorted(wanted)}
    strongest = max((p.piece for p in passages if p.piece is not None), default=0)
    scored: list[tuple[float, int]] = []
    for at, (passage, counts) in enumerate(zip(passages, counted, strict=True)):
        norm = _K1 * (1 - _B + _B * lengths[at] / average)
        score = sum(w * counts[t] * (_K1 + 1) / (counts[t] + norm) for t, w in weights.items() if t in counts)
        if score > 0:
            scored.append((-score * (_CODE_WEIGHT if passage.path else 1.0) * _found_weight(passage, strongest), at))
    scored.sort()
    return [passages[at] for score, at in scored if score <= _LEAST_SHARE * scored[0][0]]


def _found_weight(passage: Passage, strongest: int) -> float:
    """2 for the piece the search put first, 1.5 for the second, 1.33 for the third; less than 1 for a mere list."""
    if passage.listing:
        return _LIST_WEIGHT
    return 1.0 if passage.piece is None else 1 + 1 / (1 + strongest - passage.piece)


def _idf(holding: int, total: int) -> float:
    return math.log(1 + (total - holding + 0.5) / (holding + 0.5))


def shorten(passage: Passage, most_characters: int) -> Passage | None:
    """The first whole lines of a passage that fit, or None where not even one does."""
    if len(passage.text) <= most_characters:
        return passage
    end = passage.text.rfind("\n", 0, most_characters + 1)
    return replace(passage, text=passage.text[:end].rstrip()) if end > 0 and passage.text[:end].strip() else None
