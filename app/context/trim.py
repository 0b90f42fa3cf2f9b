"""Long files -> shorter variants: imports, enclosing signatures, and windows round what matters.

Light on language: indentation and the words that begin definitions. Linear in the length of the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from app.context.blocks import OpenFile

LONG_LINE = 600
"""Characters; a longer line in a shortened text is cut and says so."""
LINES_TO_SHORTEN = 30
"""Shorter texts have no shorter variant: what it would save is less than what its markers confuse."""
WINDOWS = (60, 20, 6)
"""Lines shown on each side of a focus line, one number per variant."""
IMPORT_LINES = 60
OUTLINE_LINES = 120
MAX_DEPTH = 40

Span = tuple[int, int]
"""Two line numbers, 1-based and inclusive."""

_IMPORT = re.compile(
    r"\s*+(?:import\s|from\s+\S+\s+import\b|#\s*include\b|use\s+[\w:{]|using\s+\w|package\s+\w|require\b|"
    r"(?:const|let|var)\s+[^=]{1,80}=\s*require\()"
)
_DEFINITION = re.compile(
    r"\s*+(?:@\w|(?:export\s+|default\s+|public\s+|private\s+|protected\s+|internal\s+|static\s+|abstract\s+|final\s+|"
    r"async\s+|pub(?:\([^)]{1,20}\))?\s+|unsafe\s+|inline\s+|virtual\s+|override\s+){0,6}"
    r"(?:def|class|func|fn|function|interface|struct|enum|impl|trait|module|namespace|record|type|object)\b|"
    r"[\w<>\[\]:*&,\s]{1,120}\([^;]{0,200}\)\s*(?:const|override|throws[\w\s,.]{1,80})?\s*\{\s*$|"
    r"[\w$]{1,60}\s*[:=]\s*(?:async\s*)?(?:function\b|\([^()]{0,200}\)\s*=>))"
)


def lines_of(text: str) -> list[str]:
    """The lines as editors count them: separated by line feeds; a last line feed ends a line and begins none."""
    lines = text.split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines


def file_variants(file: OpenFile, focus: Iterable[int], spans: Sequence[Span] = ()) -> tuple[str, ...]:
    """The file whole, then ever shorter. `focus` are lines that matter most (frames, the cursor), `spans` lines that
    matter too (retrieved chunks of the same file); the shortest variant shows windows round the focus alone.
    """
    lines = lines_of(file.text)
    if len(lines) < LINES_TO_SHORTEN and len(file.text) < LINES_TO_SHORTEN * LONG_LINE:
        return (file.text,)
    points = sorted({min(max(line, 1), len(lines)) for line in focus})
    variants = [file.text]
    for context in WINDOWS:
        kept = _windows(points, context, len(lines))
        if context > WINDOWS[-1]:
            kept |= _scaffold(lines, [*points, *(start for start, _ in spans)])
            kept |= {line for start, end in spans for line in range(max(start, 1), min(end, len(lines)) + 1)}
        if not points and not spans:
            kept |= set(range(1, min(2 * context, len(lines)) + 1))
        shorter = with_markers(lines, kept)
        if len(shorter) < 0.9 * len(variants[-1]):
            variants.append(shorter)
    return tuple(variants)


def shorten(text: str, keep: int) -> str:
    """The first two thirds and the last third of `keep` lines, with a marker between."""
    lines = lines_of(text)
    tail = keep // 3
    return with_markers(lines, {*range(1, keep - tail + 1), *range(len(lines) - tail + 1, len(lines) + 1)})


def shorten_prose(text: str, keep: int) -> str:
    """The first two thirds and the last third of `keep` characters, cut at spaces, with a marker between."""
    head_end = text.rfind(" ", 0, keep * 2 // 3) + 1 or keep * 2 // 3
    tail_start = text.find(" ", len(text) - keep // 3)
    tail_start = len(text) - keep // 3 if tail_start < 0 else tail_start + 1
    return f"{text[:head_end]}[… {tail_start - head_end} characters omitted …]{text[tail_start:]}"


def with_markers(lines: Sequence[str], kept: Collection[int], first_line: int = 1) -> str:
    """The kept lines (1-based indexes into `lines`) with `[lines a–b omitted]` where some are left out.

    Markers count from `first_line`, the number of the first of `lines` in its file.
    """
    out: list[str] = []
    previous = 0
    for line in sorted(kept):
        if line > previous + 1:
            out.append(_omitted(previous + first_line, line - 2 + first_line))
        out.append(cut_line(lines[line - 1]))
        previous = line
    if previous < len(lines):
        out.append(_omitted(previous + first_line, len(lines) - 1 + first_line))
    return "\n".join(out)


def cut_line(line: str, limit: int = LONG_LINE) -> str:
    if len(line) <= limit:
        return line
    return f"{line[:limit]} [{len(line) - limit} characters omitted]"


def _omitted(first: int, last: int) -> str:
    return f"[line {first} omitted]" if first == last else f"[lines {first}–{last} omitted]"


def _windows(points: Iterable[int], context: int, count: int) -> set[int]:
    kept: set[int] = set()
    reached = 0
    for point in points:  # sorted: `reached` keeps many close points linear
        start = max(point - context, reached + 1, 1)
        end = min(point + context, count)
        kept.update(range(start, end + 1))
        reached = max(reached, end)
    return kept


def _scaffold(lines: Sequence[str], points: Iterable[int]) -> set[int]:
    """Imports, and the signatures that enclose each point; without points, the signatures of the outermost levels."""
    wanted = {point for point in points if 1 <= point <= len(lines)}
    kept: set[int] = set()
    imports = outline = 0
    enclosing: list[Span] = []  # (indent, line) of the lines that open the scopes we are in
    for number, line in enumerate(lines, 1):
        head = line[:300]
        stripped = head.lstrip()
        if not stripped:
            continue
        indent = len(head) - len(stripped)
        while enclosing and enclosing[-1][0] >= indent:
            enclosing.pop()
        if number in wanted:
            kept.update(scope for _, scope in enclosing)
        if imports < IMPORT_LINES and _IMPORT.match(head):
            kept.add(number)
            imports += 1
        elif len(enclosing) < MAX_DEPTH and _DEFINITION.match(head):
            enclosing.append((indent, number))
            if not wanted and indent <= 4 and outline < OUTLINE_LINES:
                kept.add(number)
                outline += 1
    return kept
