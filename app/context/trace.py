"""Stack traces: the exception message and the innermost frame of the user's own code, and the rest, ever shorter."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.context.trim import LONG_LINE, Span, cut_line, lines_of, with_markers

MESSAGE_LINES = 20
"""Of an exception's message, the most that is never trimmed; some carry a whole document."""
FRAMES_KEPT = (12, 4)
"""Frames next to the innermost one that the shorter variants keep."""

_PYTHON_FRAME = re.compile(r'\s*+(?:\| )?\s*+File "([^"]{1,400})", line (\d{1,7})')
_OTHER_FRAMES = (
    re.compile(r"\s*+at [^(]{0,300}\((?:file://)?([^()]{1,300}?):(\d{1,7})(?::\d{1,7})?\)\s*$"),  # JavaScript, Java
    re.compile(r"\s*+at (?:file://|async )?([^\s()]{1,300}?):(\d{1,7})(?::\d{1,7})?\s*$"),  # JavaScript, Rust
    re.compile(r"\s*+at .{0,300} in ([^\n]{1,300}?):line (\d{1,7})"),  # C#
    re.compile(r"\s++([^\s:]{1,300}\.go):(\d{1,7})"),  # Go
)
_MESSAGE = re.compile(r"(?:[\w.$]{0,100}(?:Error|Exception|Warning|Interrupt|Exit)\b|Caused by:|panic:|thread '|fatal)")
_FOREIGN = re.compile(
    r"site-packages|dist-packages|node_modules|/lib/python\d|\\lib\\(?!.*project)|<frozen |<string>|node:|internal/|"
    r"/rustc/|/usr/local/go/src|/usr/lib/go|\.cargo/registry|pkg/mod/"
)
_FOREIGN_CALL = re.compile(r"\s*+at (?:java|javax|jdk|sun|scala|kotlin|org\.(?:junit|springframework|apache)|System)\.")


@dataclass(frozen=True, slots=True)
class Frame:
    """Lines `start` to `end` (1-based, inclusive) of the trace, and the place in the source they name."""

    start: int
    end: int
    path: str
    line: int
    foreign: bool
    """A library's or the language's own."""


@dataclass(frozen=True, slots=True)
class Trace:
    """`essential` is never trimmed; `variants` are the whole and then ever shorter, each with every essential line."""

    essential: str
    variants: tuple[str, ...]
    frames: tuple[Frame, ...]


def parse_trace(text: str) -> Trace:
    """Read a trace of Python, JavaScript, Java, C#, Go or Rust; any other text is kept by its first lines."""
    lines = lines_of(text)
    python = any(_PYTHON_FRAME.match(line[:LONG_LINE]) for line in lines)
    frames = _python_frames(lines) if python else _other_frames(lines)
    essential = _message_lines(lines, frames, python)
    innermost = _innermost(frames, python)
    if innermost is not None:
        essential |= set(range(innermost.start, innermost.end + 1))
    variants = [text]
    for count in FRAMES_KEPT:
        near = frames[-count:] if python else frames[:count]
        shorter = with_markers(lines, essential | {n for f in near for n in range(f.start, f.end + 1)})
        if len(shorter) < 0.9 * len(variants[-1]):
            variants.append(shorter)
    return Trace("\n".join(cut_line(lines[n - 1]) for n in sorted(essential)), tuple(variants), frames)


def focus_lines(trace: Trace | None, path: str | None) -> list[int]:
    """The lines of the file at `path` that a trace's frames name."""
    if trace is None or not path:
        return []
    return [frame.line for frame in trace.frames if same_file(frame.path, path)]


def same_file(left: str, right: str) -> bool:
    """Whether two paths may name one file: equal, or one ends in the other (`src/a.py`, `/home/u/src/a.py`)."""
    a, b = clean_path(left), clean_path(right)
    return a == b or a.endswith("/" + b) or b.endswith("/" + a)


def clean_path(path: str) -> str:
    cleaned = path.replace("\\", "/").removeprefix("file://")
    while cleaned.startswith("./"):
        cleaned = cleaned[2:]
    return cleaned


def _python_frames(lines: list[str]) -> tuple[Frame, ...]:
    frames: list[Frame] = []
    for number, line in enumerate(lines, 1):
        match = _PYTHON_FRAME.match(line[:LONG_LINE])
        if match:
            path = match[1]
            frames.append(Frame(number, number, path, int(match[2]), bool(_FOREIGN.search(path))))
        elif frames and frames[-1].end == number - 1 and line.startswith("    ") and number - frames[-1].start <= 4:
            last = frames[-1]  # the source line under the frame, and the carets under it
            frames[-1] = Frame(last.start, number, last.path, last.line, last.foreign)
    return tuple(frames)


def _other_frames(lines: list[str]) -> tuple[Frame, ...]:
    frames: list[Frame] = []
    for number, line in enumerate(lines, 1):
        head = line[:LONG_LINE]
        match = next((found for pattern in _OTHER_FRAMES if (found := pattern.match(head))), None)
        if match:
            foreign = bool(_FOREIGN.search(match[1]) or _FOREIGN_CALL.match(head))
            frames.append(Frame(number, number, match[1], int(match[2]), foreign))
    return tuple(frames)


def _innermost(frames: tuple[Frame, ...], python: bool) -> Frame | None:
    """The innermost frame of the user's own code, else the innermost of all. Python writes it last, others first."""
    inwards = tuple(reversed(frames)) if python else frames
    return next((frame for frame in inwards if not frame.foreign), inwards[0] if inwards else None)


def _message_lines(lines: list[str], frames: tuple[Frame, ...], python: bool) -> set[int]:
    if python and frames:
        span: Span = (frames[-1].end + 1, len(lines))
    elif frames:
        span = (1, frames[0].start - 1)
    else:
        span = _first_message(lines)
    wanted = [n for n in range(span[0], span[1] + 1) if lines[n - 1].strip()]
    return set(wanted[:MESSAGE_LINES] if python or not frames else wanted[-MESSAGE_LINES:])


def _first_message(lines: list[str]) -> Span:
    for number, line in enumerate(lines, 1):
        if _MESSAGE.search(line[:LONG_LINE]):
            return number, number
    first = next((number for number, line in enumerate(lines, 1) if line.strip()), 1)
    return first, first
