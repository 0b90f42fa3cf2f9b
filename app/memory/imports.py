"""What an import statement names, and by which names a file is imported. One rule per language; pure.

Modules inside the folder get the name that both sides can work out: dotted for Python, the path without its suffix for
JavaScript and TypeScript, the path itself for C headers. Modules from elsewhere keep the name they are imported by.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tree_sitter import Node

_SOURCE_ROOTS: Final = ("src", "lib", "source", "python")
"""Folders that are no part of a Python module's name."""
_SCRIPTS: Final = ("javascript", "typescript", "tsx")
_SCRIPT_SUFFIXES: Final = (".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts")
_NAME: Final = re.compile(r"\w+")
_MOST: Final = 200
_TEXT: Final = 8_000


def modules_of(path: str, language: str) -> list[str]:
    """The names other files import this one by, as far as they can be told from its path."""
    if language == "python":
        name = _python_module(path)
        return [name] if name else []
    if language in _SCRIPTS:
        return [_script_module(path)]
    if language in ("c", "cpp") and PurePosixPath(path).suffix in (".h", ".hh", ".hpp", ".hxx", ".inl", ".ipp"):
        return [path]
    return []


def imported(node: Node, path: str, language: str) -> Iterator[tuple[str, Sequence[str]]]:
    """(module, names taken from it) of one node; nothing where it is no import."""
    kind = node.type
    if kind == "import_statement" and language == "python":
        for child in node.named_children[:_MOST]:
            yield _text(child.child_by_field_name("name") or child), ()
    elif kind == "import_from_statement":
        yield _from_python(node, path)
    elif kind in ("import_statement", "export_statement") and language in _SCRIPTS:
        source = node.child_by_field_name("source")
        if source is not None:
            yield _script_source(_text(source).strip("'\"`"), path), _names(node, source)
    elif kind == "import_spec":
        yield _text(node.child_by_field_name("path")).strip('"`'), ()
    elif kind == "use_declaration":
        yield from _rust(_text(node.child_by_field_name("argument")))
    elif kind == "import_declaration" and language == "java":
        name = _text(node).removeprefix("import").strip().removeprefix("static ").rstrip("; ").removesuffix(".*")
        yield name, (name.rpartition(".")[2],)
    elif kind == "preproc_include":
        yield _header(_text(node.child_by_field_name("path")), path), ()


def _from_python(node: Node, path: str) -> tuple[str, list[str]]:
    module = node.child_by_field_name("module_name")
    said = _text(module)
    dots = len(said) - len(said.lstrip("."))
    if dots:
        package = (_python_module(path) or "").split(".")
        if PurePosixPath(path).stem != "__init__":
            package = package[:-1]
        base = package[: len(package) - (dots - 1)] if dots > 1 else package
        said = ".".join(part for part in (*base, said.lstrip(".")) if part)
    given = [child for child in node.named_children[:_MOST] if child != module]
    return said, [_text(child.child_by_field_name("name") or child) for child in given]


def _python_module(path: str) -> str | None:
    parts = list(PurePosixPath(path).with_suffix("").parts)
    if parts and parts[-1] == "__init__":
        parts.pop()
    if len(parts) > 1 and parts[0] in _SOURCE_ROOTS:
        parts = parts[1:]
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else None


def _script_module(path: str) -> str:
    for suffix in _SCRIPT_SUFFIXES:
        if path.endswith(suffix):
            path = path.removesuffix(suffix)
            break
    return path.removesuffix("/index") or path


def _script_source(said: str, path: str) -> str:
    if not said.startswith("."):
        return said
    return _script_module(posixpath.normpath(posixpath.join(posixpath.dirname(path), said)))


def _names(node: Node, source: Node) -> list[str]:
    """Identifiers between `import` and `from`."""
    whole = _text(node)[: max(0, source.start_byte - node.start_byte)]
    return _NAME.findall(whole)[:_MOST]


def _rust(said: str) -> Iterator[tuple[str, Sequence[str]]]:
    """`a::b::{C, d::E}` -> `a::b`, with C and E."""
    said = " ".join(said.split())
    base = re.split(r"::\{|::\*| as ", said, maxsplit=1)[0]
    names = _NAME.findall(said[len(base) :])[:_MOST]
    if not names or base == said:
        module, _, last = base.rpartition("::")
        yield module or base, (last,)
    else:
        yield base, names


def _header(said: str, path: str) -> str:
    if said.startswith("<"):
        return said.strip("<>")
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), said.strip('"')))


def _text(node: Node | None) -> str:
    return node.text[:_TEXT].decode("utf-8", "replace") if node is not None and node.text else ""
