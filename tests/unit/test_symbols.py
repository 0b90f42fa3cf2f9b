"""Symbols and relations by syntax: one example per language, real packages, hostile source."""

from __future__ import annotations

from pathlib import Path

import fastapi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.memory.entities import EntityRef, check
from app.memory.languages import LANGUAGES, language_of
from app.memory.symbols import MAX_BYTES, MAX_RELATIONS, MAX_SYMBOLS, FileSymbols, symbols_of

PYTHON = '''import os.path, json as j
from .b import Base, helper
LIMIT: Final = 3
class A(Base, x.Mixin[T]):
    """Does a thing. And more."""
    SIZE = 4
    def run(self): helper(); A(); self.run()
def free():
    def inner(): pass
    return Base(LIMIT)
'''
TYPESCRIPT = """import React, { Foo, bar as Baz } from "./lib/foo";
/** A shape. Two. */
export interface Shape extends Thing { area(): number }
export class Sq extends Base<T> implements Shape { area() { return make(); } }
export const make = () => new Sq();
const MAX_X = 3;
type T = string;
"""
GO = """package m
import ("fmt"; x "net/http")
const Max = 3
type Server struct { Base; *http.Handler; name string }
// Run runs it. Twice.
func (s *Server) Run() { New() }
func New() *Server { return &Server{} }
"""
RUST = """use crate::a::b::{Cell, d::E};
const N: u8 = 3;
/// A stack.
pub struct Stack<T> { v: Vec<T> }
impl<T> Display for Stack<T> { fn fmt(&self) { new() } }
trait Tr: Super { fn go(&self); }
fn new() {}
"""
JAVA = """package p;
import java.util.List;
public class J extends Base implements Run, Go<T> { static final int MAX = 3; void run() { new List(); } }
"""
CPP = """#include "foo.h"
#define LIMIT 3
namespace n { class A : public Base { void m(); }; }
void n::A::m() { f(); }
int f(int x) { return x; }
"""
C = """#include <stdio.h>
struct s { int a; };
typedef struct s s_t;
static int f(int x) { return g(x); }
int g(int x) { return x; }
"""
CASES = [
    ("src/pkg/a.py", PYTHON,
     {"constant LIMIT 3", "class A 4", "constant A.SIZE 6", "method A.run 7", "function free 8"},
     {"src/pkg/a.py imports pkg.b", "src/pkg/a.py imports os.path", "src/pkg/a.py imports json",
      "src/pkg/a.py imports Base", "src/pkg/a.py defines pkg.a", "A inherits Mixin", "A inherits Base",
      "A.run contained_in A", "A.run calls A", "free calls Base", "src/pkg/a.py defines free"}),
    ("src/x.ts", TYPESCRIPT,
     {"class Shape 3", "class Sq 4", "method Sq.area 4", "function make 5", "constant MAX_X 6", "type T 7"},
     {"src/x.ts imports src/lib/foo", "src/x.ts imports Foo", "Shape inherits Thing", "Sq inherits Base",
      "Sq inherits Shape", "Sq.area calls make", "make calls Sq", "src/x.ts defines src/x"}),
    ("m.go", GO, {"constant Max 3", "class Server 4", "method Server.Run 6", "function New 7"},
     {"m.go imports net/http", "Server inherits Base", "Server inherits Handler", "Server.Run contained_in Server",
      "Server.Run calls New"}),
    ("r.rs", RUST, {"constant N 2", "class Stack 4", "method Stack.fmt 5", "class Tr 6", "function new 7"},
     {"r.rs imports crate::a::b", "r.rs imports Cell", "Stack inherits Display", "Stack.fmt contained_in Stack",
      "Stack.fmt calls new", "Tr inherits Super"}),
    ("J.java", JAVA, {"class J 3", "constant J.MAX 3", "method J.run 3"},
     {"J.java imports java.util.List", "J.java imports List", "J inherits Go", "J.run calls List"}),
    ("a/c.cpp", CPP, {"constant LIMIT 2", "module n 3", "class n.A 3", "method n.A.m 4", "function f 5"},
     {"a/c.cpp imports a/foo.h", "n.A inherits Base", "n.A.m contained_in n.A", "n.A.m calls f"}),
    ("c.c", C, {"class s 2", "type s_t 3", "function f 4", "function g 5"}, {"c.c imports stdio.h", "f calls g"}),
]  # fmt: skip


def of(path: str, source: str) -> FileSymbols:
    return symbols_of(path, source.encode(), language_of(path))


def said(end: EntityRef | str) -> str:
    return end if isinstance(end, str) else end.name


@pytest.mark.parametrize(("path", "source", "symbols", "relations"), CASES, ids=[case[0] for case in CASES])
def test_a_language(path: str, source: str, symbols: set[str], relations: set[str]) -> None:
    found = of(path, source)
    assert {f"{e.kind} {e.name} {e.line}" for e in found.entities[1:]} >= symbols
    assert {f"{said(r.start)} {r.kind} {said(r.end)}" for r in found.relations} >= relations
    assert (found.entities[0].name, found.entities[0].kind) == (path, "file")
    assert all(e.path == path for e in found.entities)
    check(found.entities, found.relations)


def test_what_is_said_of_a_symbol_is_its_line_and_its_doc() -> None:
    python = {e.name: e.summary for e in of("a.py", PYTHON).entities}
    assert python["A"] == "class A(Base, x.Mixin[T]) — Does a thing."
    assert {e.name: e.summary for e in of("x.ts", TYPESCRIPT).entities}["Shape"] == (
        "interface Shape extends Thing { area(): number } — A shape."
    )
    assert str({e.name: e.summary for e in of("m.go", GO).entities}["Server.Run"]).endswith("— Run runs it.")
    assert str({e.name: e.summary for e in of("r.rs", RUST).entities}["Stack"]).endswith("— A stack.")


def test_inner_functions_are_nobodys_business() -> None:
    assert not [e for e in of("a.py", PYTHON).entities if "inner" in e.name]


def test_real_packages() -> None:
    root = Path(fastapi.__file__).parents[1]
    seen = 0
    for package in ("fastapi", "httpx", "tree_sitter"):
        for file in sorted((root / package).rglob("*.py"))[:40]:
            source = file.read_bytes()
            found = symbols_of(file.relative_to(root).as_posix(), source, "python")
            check(found.entities, found.relations)
            lines = source.decode().split("\n")
            for entity in found.entities[1:]:
                assert entity.line is not None
                near = "\n".join(lines[entity.line - 1 : entity.line + 20])
                assert entity.name.rpartition(".")[2] in near, (file, entity)
                seen += 1
    assert seen > 500


def test_what_one_file_brings_is_bounded() -> None:
    many = "\n".join(f"class C{n}(Base{n}):\n    def m(self): C{n - 1}()" for n in range(4_000))
    found = of("a.py", many)
    assert len(found.entities) == MAX_SYMBOLS + 1
    assert len(found.relations) <= MAX_RELATIONS
    assert of("a.py", "x" * (MAX_BYTES + 1)) == of("a.txt", "class A: pass") == FileSymbols()
    assert of("a" * 300 + ".py", "class A: pass") == FileSymbols()
    deep = of("a.py", "class A:\n" + "(" * 50_000)
    assert len(deep.entities) >= 1


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LANGUAGES), st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_give_what_can_be_stored(language: str, source: bytes) -> None:
    found = symbols_of("a/b.x", source, language)
    check(found.entities, found.relations)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(CASES), st.integers(0, 200), st.integers(0, 60))
def test_torn_source_gives_what_can_be_stored(
    case: tuple[str, str, set[str], set[str]], start: int, length: int
) -> None:
    path, source, *_ = case
    torn = source[:start] + source[start + length :]
    found = of(path, torn)
    check(found.entities, found.relations)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("javascript", "a" + ".b()" * 100_000),
        ("javascript", "a" + "()" * 200_000),
        ("rust", "impl A for B { " * 20_000 + "}" * 20_000),
        ("cpp", "namespace a{" * 20_000 + "}" * 20_000),
    ],
)
def test_what_is_nested_without_end_takes_no_time_without_end(language: str, source: str) -> None:
    """A chain of calls holds every call before it: reading the text of each took hours for one file."""
    symbols_of("a", source.encode(), language)


def test_long_chains_of_calls_are_read() -> None:
    source = "def target(): pass\n\ndef f():\n    target()" + "".join(f".b{n}()" for n in range(60)) + "\n"
    found = symbols_of("a.py", source.encode(), "python")
    calls = [(r.start, r.end) for r in found.relations if r.kind == "calls"]
    assert calls == [(EntityRef("f", "function"), EntityRef("target", "function"))]
