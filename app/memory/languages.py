"""Which language a file is in, and its syntax tree. Grammars come from one wheel each, loaded when first asked for.

The wheels hold compiled grammars, so nothing is fetched at run time. A parse is bounded by the CPU time it takes: an
adversarial megabyte would otherwise take seconds (and a parser's error recovery is where they go).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tree_sitter import Language, Tree

PARSE_SECONDS: Final = 2.0
"""CPU seconds one parse may take. Ordinary source: 32 KB in 3 ms."""
_READ_BYTES: Final = 65_536
MARKDOWN: Final = "markdown"

_GRAMMARS: Final = {
    "python": ("tree_sitter_python", "language"),
    "javascript": ("tree_sitter_javascript", "language"),  # JSX is part of it
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "go": ("tree_sitter_go", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "java": ("tree_sitter_java", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
}
LANGUAGES: Final = tuple(_GRAMMARS)
"""The names `parse` takes."""

_SUFFIXES: Final = {
    **dict.fromkeys((".py", ".pyi", ".pyw"), "python"),
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs"), "javascript"),
    **dict.fromkeys((".ts", ".mts", ".cts"), "typescript"),
    ".tsx": "tsx",
    ".go": "go",
    ".rs": "rust",
    ".java": "java",
    ".c": "c",
    # A C++ grammar reads nearly every C header; the C grammar reads no class.
    **dict.fromkeys((".h", ".cc", ".cpp", ".cxx", ".c++", ".hh", ".hpp", ".hxx", ".h++", ".ipp", ".inl"), "cpp"),
    **dict.fromkeys((".md", ".markdown", ".mdx"), MARKDOWN),
}
_NAMES: Final = {"sconstruct": "python", "sconscript": "python", "wscript": "python", "jakefile": "javascript"}
_SHEBANG = re.compile(r"^#!\s*\S*?(?:/env\s+(?:-S\s+)?(?:\w+=\S*\s+)*)?([A-Za-z]+)[\d.]*(?:\s|$)")
_INTERPRETERS: Final = {
    **dict.fromkeys(("python", "pypy"), "python"),
    **dict.fromkeys(("node", "nodejs", "bun"), "javascript"),
    **dict.fromkeys(("deno", "tsx"), "typescript"),
}
_LONGEST_SHEBANG: Final = 200


class ParseAborted(Exception):
    """The source took too long to parse: treat it as plain text."""


def language_of(path: str, first_line: str = "") -> str | None:
    """One of `LANGUAGES`, `markdown`, or None; by the name, and where that has no suffix by a `#!` line."""
    name = PurePosixPath(path).name.lower()
    suffix = PurePosixPath(name).suffix
    found = _SUFFIXES.get(suffix) or _NAMES.get(name)
    if found is None and not suffix and (match := _SHEBANG.match(first_line[:_LONGEST_SHEBANG])):
        found = _INTERPRETERS.get(match.group(1).rpartition("/")[2])
    return found


def parse(source: bytes, language: str, *, cpu_seconds: float = PARSE_SECONDS) -> Tree:
    """The syntax tree of UTF-8 source; source with errors has nodes of type `ERROR`. Any thread may call this.

    Raises `ParseAborted` after `cpu_seconds`, and `KeyError` for a name that is not one of `LANGUAGES`.
    """
    from tree_sitter import Parser

    def read(offset: int, _: object) -> bytes:
        return source[offset : offset + _READ_BYTES]

    # In portions and with a progress callback, because only so can it be stopped and do other threads get a turn.
    try:
        return Parser(grammar(language)).parse(read, progress_callback=_out_of_time(cpu_seconds))
    except ValueError as error:
        raise ParseAborted(f"parsing took more than {cpu_seconds:g} s of CPU time") from error


def _out_of_time(seconds: float) -> Callable[[int, bool], bool]:
    end = time.thread_time() + seconds
    return lambda _offset, _has_error: time.thread_time() > end


@cache
def grammar(language: str) -> Language:
    """The compiled grammar of one of `LANGUAGES`, for queries; raises `KeyError` for another name."""
    from tree_sitter import Language

    module, function = _GRAMMARS[language]
    return Language(getattr(import_module(module), function)())
