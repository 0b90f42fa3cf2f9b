"""What a syntax node defines, by the kinds of node each grammar has: names for `Router.stream`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tree_sitter import Node

_NAMED: Final = {
    *("function_definition", "class_definition"),  # Python
    *("function_declaration", "generator_function_declaration", "class_declaration", "abstract_class_declaration"),
    *("method_definition", "interface_declaration", "type_alias_declaration", "enum_declaration"),
    *("internal_module", "module", "function_signature", "abstract_method_signature"),  # JavaScript, TypeScript
    *("method_declaration", "type_spec", "type_alias"),  # Go
    *("function_item", "function_signature_item", "struct_item", "enum_item", "union_item", "trait_item"),
    *("mod_item", "macro_definition", "type_item"),  # Rust
    *("record_declaration", "annotation_type_declaration"),
    *("constructor_declaration", "compact_constructor_declaration"),  # Java
    *("namespace_definition", "concept_definition"),  # C++
}
"""Nodes whose field `name` is what they define."""
_WRAPPERS: Final = {
    *("decorated_definition", "export_statement", "expression_statement", "ambient_declaration"),
    *("template_declaration", "type_declaration", "lexical_declaration", "variable_declaration", "declaration"),
    "linkage_specification",
}
"""Nodes that define what the one definition inside them does."""
_FIELDS: Final = {"variable_declarator", "public_field_definition", "field_definition"}
_RECORDS: Final = {"class_specifier", "struct_specifier", "union_specifier", "enum_specifier"}
_FUNCTION_VALUES: Final = {"arrow_function", "function_expression", "generator_function", "class", "function"}
ATTACHED: Final = {
    *("comment", "line_comment", "block_comment", "doc_comment", "decorator"),
    *("attribute_item", "inner_attribute_item", "marker_annotation", "annotation"),
}
"""Nodes that belong to what follows them."""
_LONGEST_NAME: Final = 200


def name_of(node: Node) -> str | None:
    """The name that a node defines, or None where it is no definition. A Go method is `Receiver.name`."""
    found = _name(node, 3)
    return " ".join(found.split())[:_LONGEST_NAME] if found else None


def is_wrapper(node: Node) -> bool:
    """The definition is a child of this node: only one of them counts as a step of a dotted name."""
    return node.type in _WRAPPERS


def _name(node: Node, depth: int) -> str | None:
    kind = node.type
    if kind == "impl_item":
        return _text(node.child_by_field_name("type"))
    if kind == "method_declaration" and (receiver := node.child_by_field_name("receiver")) is not None:
        owner, name = _receiver(receiver), _text(node.child_by_field_name("name"))
        return f"{owner}.{name}" if owner and name else name
    if kind == "function_definition" and (declarator := node.child_by_field_name("declarator")) is not None:
        return _declared(declarator)
    if kind in _NAMED:
        return _text(node.child_by_field_name("name"))
    if kind in _RECORDS:
        return _text(node.child_by_field_name("name")) if node.child_by_field_name("body") is not None else None
    if kind in _FIELDS:
        value = node.child_by_field_name("value")
        if value is None or value.type not in _FUNCTION_VALUES:
            return None
        return _text(node.child_by_field_name("name") or node.child_by_field_name("property"))
    if kind == "assignment_expression" and (value := node.child_by_field_name("right")) is not None:
        left = _text(node.child_by_field_name("left")) if value.type in _FUNCTION_VALUES else None
        return left.replace(".prototype.", ".") if left else None
    if kind == "type_definition":
        return _text(node.child_by_field_name("declarator"))
    if kind in _WRAPPERS and depth and node.named_child_count <= 8:
        found = [name for child in node.named_children if (name := _name(child, depth - 1))]
        return found[0] if len(found) == 1 else None
    return None


def _receiver(parameters: Node) -> str | None:
    """`(s *Server[T])` -> `Server`."""
    stack = [parameters]
    while stack:
        node = stack.pop()
        if node.type == "type_identifier":
            return _text(node)
        stack.extend(reversed(node.named_children[:4]))
    return None


def _declared(declarator: Node) -> str | None:
    """`*const f(int x)` -> `f`; `A::B::f` keeps its scope, as dots."""
    for _ in range(8):
        inner = declarator.child_by_field_name("declarator")
        if inner is None:
            break
        declarator = inner
    if declarator.type == "reference_declarator" and declarator.named_child_count:  # has no such field
        return _declared(declarator.named_children[-1])
    found = _text(declarator)
    return found.replace("::", ".") if found else None


def _text(node: Node | None) -> str | None:
    return node.text.decode("utf-8", "replace") if node is not None and node.text else None
