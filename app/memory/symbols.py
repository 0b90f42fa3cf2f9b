"""What a file of source defines, imports, inherits and calls, as entities and relations. By syntax alone, no model.

    file ──defines──> class <──contained_in── method ──calls──> function
      │                 └──inherits──> class
      ├──defines──> module <──imports── another file
      └──imports──> module, class

Names are those of the chunks (`Router.stream`), so that an entity and a piece of a file speak of the same thing. What a
file only names (a base class, an imported class) is an entity too, without a place; the file that defines it gives one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from app.memory.definitions import ATTACHED, is_wrapper, name_of
from app.memory.entities import NAME_CHARACTERS, EntityRef, NewEntity, NewRelation
from app.memory.imports import imported, modules_of
from app.memory.languages import LANGUAGES, ParseAborted, parse

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_BYTES: Final = 1_000_000
"""A longer file is generated or data; none of its symbols are worth knowing."""
MAX_SYMBOLS: Final = 1_000
MAX_RELATIONS: Final = 3_000
MAX_NODES: Final = 400_000
"""Visited in one file, about a second's worth."""
MAX_DEPTH: Final = 250
"""Nodes within each other that are looked into. Each may hold all that is below it: a chain of 100,000 calls, whose
texts are read one by one, would take hours."""
_SIGNATURE_CHARACTERS: Final = 140
_DOC_CHARACTERS: Final = 200

_CLASSES: Final = {
    *("class_definition", "class_declaration", "abstract_class_declaration", "interface_declaration"),
    *("enum_declaration", "record_declaration", "annotation_type_declaration", "struct_item", "enum_item"),
    *("union_item", "trait_item", "class_specifier", "struct_specifier", "union_specifier", "enum_specifier"),
    *("concept_definition", "type_spec", "class"),
}
"""Nominal types of every language are of the kind `class`: what imports one cannot tell which it is."""
_TYPES: Final = {"type_alias_declaration", "type_alias", "type_item", "type_definition"}
_MODULES: Final = {"mod_item", "namespace_definition", "internal_module", "module"}
_CALLS: Final = {"call", "call_expression", "new_expression", "method_invocation", "object_creation_expression"}
_CALLEE: Final = ("function", "constructor", "name", "type")
_CONSTANT: Final = re.compile(r"[A-Z][A-Z0-9_]+")
_CLASS_NAME: Final = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")
_LAST_NAME: Final = re.compile(r"(\w+)\W*$")
_DOC: Final = re.compile(r"^\s*(?:[rRuUbBfF]{0,2}(?:\"\"\"|'''|[\"']))?[\s/*#!]*|[\s*/\"']+$")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s|\n\s*\n")
_BASES: Final = {
    *("argument_list", "class_heritage", "extends_clause", "extends_type_clause", "implements_clause", "superclass"),
    *("super_interfaces", "extends_interfaces", "base_class_clause", "trait_bounds"),
}
_BASE_NAMES: Final = {"identifier", "type_identifier", "attribute", "member_expression", "qualified_identifier",
                      "generic_type", "scoped_type_identifier", "nested_identifier", "scoped_identifier", "subscript",
                      "template_type", "type_list", "extends_clause", "implements_clause"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileSymbols:
    """What one file says. Empty where it could not be parsed."""

    entities: tuple[NewEntity, ...] = ()
    relations: tuple[NewRelation, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node stands."""

    node: Node
    scope: str = ""
    owner: EntityRef | None = None
    inside: bool = False
    """Within a function: what is defined there is its own business."""
    depth: int = 0


@dataclass(slots=True)
class _Found:
    path: str
    language: str
    file: EntityRef
    entities: dict[tuple[str, str], NewEntity] = field(default_factory=dict)
    relations: Counter[tuple[EntityRef, EntityRef, str]] = field(default_factory=Counter)
    calls: Counter[tuple[EntityRef, str]] = field(default_factory=Counter)
    top: dict[str, EntityRef] = field(default_factory=dict)
    """Names that a call in this file can mean: what it defines at its top, and the classes it imports."""

    def define(self, ref: EntityRef, node: Node, owner: EntityRef | None) -> None:
        if len(self.entities) < MAX_SYMBOLS:
            line = node.start_point[0] + 1
            new = NewEntity(ref.name, ref.kind, _summary(node), path=self.path, line=line)
            self.entities.setdefault((ref.kind, ref.name), new)
            if owner is None:
                self.relate(self.file, ref, "defines")
            else:
                self.relate(ref, owner, "contained_in")

    def relate(self, start: EntityRef, end: EntityRef, kind: str) -> None:
        if start != end and (len(self.relations) < MAX_RELATIONS or (start, end, kind) in self.relations):
            self.relations[start, end, kind] += 1


def symbols_of(path: str, source: bytes, language: str | None) -> FileSymbols:
    """Of a file whose path is relative to its root. Pure; runs on any thread for at most some seconds.

    Nothing for a language that is not parsed, for what takes too long, and for more than `MAX_BYTES`.
    """
    if language not in LANGUAGES or len(source) > MAX_BYTES:
        return FileSymbols()
    try:
        return symbols_in(path, parse(source, language).root_node, language)
    except ParseAborted:
        return FileSymbols()


def symbols_in(path: str, root: Node, language: str) -> FileSymbols:
    """`symbols_of` for a tree that is there already."""
    if root.end_byte > MAX_BYTES or len(path) > NAME_CHARACTERS:
        return FileSymbols()
    file = EntityRef(path, "file")
    found = _Found(path, language, file)
    _walk(found, root)
    for name in modules_of(path, language):
        found.relate(file, EntityRef(name, "module"), "defines")
    for (caller, name), count in found.calls.items():
        if (called := found.top.get(name)) is not None and called != caller:
            found.relations[caller, called, "calls"] += count
    itself = NewEntity(path, "file", f"{language} file", path=path)
    relations = [NewRelation(start, end, kind, float(count)) for (start, end, kind), count in found.relations.items()]
    return FileSymbols((itself, *found.entities.values()), tuple(relations[:MAX_RELATIONS]))


def _walk(found: _Found, root: Node) -> None:
    stack = [_Place(root)]
    visited = 0
    while stack and visited < MAX_NODES:
        place = stack.pop()
        visited += 1
        within = list(_visit(found, place))
        if place.depth < MAX_DEPTH:
            stack.extend(reversed(within))


def _visit(found: _Found, place: _Place) -> Iterator[_Place]:
    """Note what the node says; yield its children with where they stand."""
    node = place.node
    kind = node.type
    if kind in _CALLS:
        _note_call(found, place)
    elif not place.inside:
        _note_imports(found, node)
        for named, constant in _constants(node):
            ref = EntityRef(_dotted(place.scope, named), "constant")
            found.define(ref, constant, place.owner)
        if not is_wrapper(node) and (name := name_of(node)) is not None:
            yield from _note_definition(found, place, name)
            return
    for child in node.named_children:
        yield _Place(child, place.scope, place.owner, place.inside, place.depth + 1)


def _note_definition(found: _Found, place: _Place, name: str) -> Iterator[_Place]:
    node = place.node
    scope = _dotted(place.scope, name)
    kind = _kind(node, place, name)
    owner = place.owner
    if node.type == "impl_item":
        owner = EntityRef(_bare(name), "class")
        scope = _dotted(place.scope, _bare(name))
        if (trait := node.child_by_field_name("trait")) is not None and (base := _last_name(trait)):
            found.relate(owner, EntityRef(base, "class"), "inherits")
    elif len(scope) <= NAME_CHARACTERS and kind is not None:
        ref = EntityRef(scope, kind)
        before, dot, _ = scope.rpartition(".")
        # A Go method and a C++ one defined outside name their class themselves.
        within = owner or (EntityRef(before, "class") if dot and kind == "method" else None)
        found.define(ref, node, within)
        if owner is None and not dot:
            found.top.setdefault(name, ref)
        if kind == "class":
            for base in _bases(node):
                found.relate(ref, EntityRef(base, "class"), "inherits")
        owner = ref
    inside = place.inside or kind in ("function", "method")
    for child in node.named_children:
        yield _Place(child, scope, owner, inside, place.depth + 1)


def _kind(node: Node, place: _Place, name: str) -> str | None:
    """None for what is no symbol of its own (Rust's `impl`)."""
    if node.type == "impl_item":
        return None
    if node.type in _CLASSES:
        return "class"
    if node.type in _TYPES:
        return "type"
    if node.type in _MODULES:
        return "module"
    in_class = place.owner is not None and place.owner.kind == "class"
    return "method" if in_class or "." in name else "function"


def _note_call(found: _Found, place: _Place) -> None:
    caller = place.owner or found.file
    for name in _CALLEE:
        if (callee := place.node.child_by_field_name(name)) is not None:
            if called := _last_name(callee):
                found.calls[caller, called] += 1
            return


def _note_imports(found: _Found, node: Node) -> None:
    for module, names in imported(node, found.path, found.language):
        if module and len(module) <= NAME_CHARACTERS:
            found.relate(found.file, EntityRef(module, "module"), "imports")
        for name in names:
            if _CLASS_NAME.fullmatch(name) and len(name) <= NAME_CHARACTERS:
                ref = EntityRef(name, "class")
                found.relate(found.file, ref, "imports")
                found.top.setdefault(name, ref)


def _constants(node: Node) -> Iterator[tuple[str, Node]]:
    """Names in capitals, and what the language itself calls constant."""
    kind = node.type
    if kind == "assignment":  # Python
        name: str = _text(node.child_by_field_name("left"))
    elif kind in ("variable_declarator", "const_spec", "const_item", "static_item", "preproc_def"):
        name = _text(node.child_by_field_name("name"))
    else:
        return
    if kind in ("const_spec", "const_item", "static_item") or _CONSTANT.fullmatch(name):
        value = node.child_by_field_name("value")
        if name.isidentifier() and (value is None or value.type not in ("arrow_function", "function_expression")):
            yield name, node


def _bases(node: Node) -> list[str]:
    """The last names of the types a class is made from."""
    names: list[str] = []
    if (go := node.child_by_field_name("type")) is not None and node.type == "type_spec":
        return _embedded(go)
    for child in node.named_children:
        if child.type not in _BASES:
            continue
        waiting = list(reversed(child.named_children))
        while waiting and len(names) < 32:
            base = waiting.pop()
            if base.type in ("extends_clause", "implements_clause", "type_list"):
                waiting += reversed(base.named_children)
            elif base.type in _BASE_NAMES and (name := _last_name(base)):
                names.append(name)
    return list(dict.fromkeys(names))


def _embedded(body: Node) -> list[str]:
    """Go: the fields of a struct that have a type and no name."""
    fields = [f for part in body.named_children if part.type == "field_declaration_list" for f in part.named_children]
    plain = (f for f in fields if f.type == "field_declaration" and f.child_by_field_name("name") is None)
    return [name for f in plain if (name := _last_name(f.child_by_field_name("type") or f))][:32]


def _summary(node: Node) -> str | None:
    """The line that defines it, and the first sentence of what its author says of it."""
    signature = _text(node).lstrip().split("\n", 1)[0].strip().rstrip("{:=( ").strip()[:_SIGNATURE_CHARACTERS]
    doc = _doc(node)
    return f"{signature} — {doc}" if doc and signature else signature or doc or None


def _doc(node: Node) -> str:
    body = node.child_by_field_name("body")
    if body is not None and body.named_child_count:
        first = body.named_children[0]
        inner = first.named_children[0] if first.type == "expression_statement" and first.named_child_count else first
        if inner.type == "string":
            return _first_sentence(_text(inner))
    before = node if node.parent is None or not is_wrapper(node.parent) else node.parent
    comments: list[str] = []
    at = before.prev_named_sibling
    while at is not None and at.type in ATTACHED and len(comments) < 20:
        if "comment" in at.type:
            comments.append("\n".join(_DOC.sub("", line) for line in _text(at).splitlines()))
        at = at.prev_named_sibling
    return _first_sentence("\n".join(reversed(comments)))


def _first_sentence(text: str) -> str:
    return " ".join(_SENTENCE.split(_DOC.sub("", text).strip(), maxsplit=1)[0].split())[:_DOC_CHARACTERS]


def _last_name(node: Node) -> str:
    """`a.b.C[T]` -> `C`."""
    generic = node.child_by_field_name("value") if node.type == "subscript" else None
    text = _text(generic or node)[:400]
    match = _LAST_NAME.search(re.split(r"[<\[(]", text, maxsplit=1)[0])
    return match.group(1) if match else ""


def _bare(name: str) -> str:
    """`Stack<T>` -> `Stack`."""
    return re.split(r"[<\s]", name, maxsplit=1)[0]


def _dotted(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope else name


def _text(node: Node | None) -> str:
    return node.text.decode("utf-8", "replace") if node is not None and node.text else ""
