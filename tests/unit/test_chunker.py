"""Source into chunks: real grammars on real source, and any text at all."""

from __future__ import annotations

import inspect
import json
import time
from pathlib import Path

import fastapi.routing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.memory.chunker import MAX_CHARACTERS, MAX_LINE, FileTooLarge, chunk_file
from app.memory.chunks import Chunk
from app.memory.pieces import TARGET

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["a.py", "a.js", "a.ts", "a.tsx", "a.go", "a.rs", "a.java", "a.c", "a.cpp", "a.md", "a.txt", "noname"]
PARTS = st.sampled_from(
    ["def f(x):\n", "class A:\n", "    return 1\n", "\n", "# c\n", "func f() {\n", "}\n", "  ", "{", "(", "'", '"""',
     "`", "```\n", "# Title\n", "## Sub\n", "---\n", "é日", "\r\n", "\r", "\u2028", "\0", "\ufeff", "impl A {\n",
     "@x\n", "x = 1;\n", "template <class T>\n", "public class B {\n", "export const a = () => {\n", "\udcff"]
)  # fmt: skip


STATEMENTS = "        x = 1\n" * 80
MEMBERS = "    a: number;\n" * 80
FIELDS = "    a int // the first\n" * 80
CALLS = "    compute();\n" * 80


def chunks(text: str, path: str = "a.py") -> tuple[Chunk, ...]:
    return chunk_file(path, text, "h").chunks


def symbols(text: str, path: str) -> list[str | None]:
    return [chunk.symbol for chunk in chunks(text, path)]


def long(statement: str, times: int = 40) -> str:
    return statement * times


SAMPLES = [
    ("a.py", f"import os\n\n\nclass A:\n    def f(self):\n{STATEMENTS}", "A.f"),
    ("a.py", f"@cached\n@app.get('/')\nasync def f():\n{STATEMENTS[4:].replace(chr(10) + '    ', chr(10))}", "f"),
    ("a.js", f"export class A {{\n  f() {{\n{CALLS}  }}\n}}\n", "A.f"),
    ("a.js", f"const f = () => {{\n{CALLS}}};\n", "f"),
    ("a.js", f"Foo.prototype.bar = function () {{\n{CALLS}}};\n", "Foo.bar"),
    ("a.ts", f"export namespace N {{\n  export interface P {{\n{MEMBERS}  }}\n}}\n", "N.P"),
    ("a.tsx", f"export default function View() {{\n{CALLS}  return <b/>;\n}}\n", "View"),
    ("a.go", f"package a\n\nfunc (s *Server) Serve() error {{\n{CALLS}}}\n", "Server.Serve"),
    ("a.go", f"package a\n\ntype Server struct {{\n{FIELDS}}}\n", "Server"),
    ("a.rs", f"impl<T> Display for Grid<T> {{\n  fn fmt(&self) {{\n{CALLS}  }}\n}}\n", "Grid<T>.fmt"),
    ("a.java", f"class A {{\n  /** Doc. */\n  int f() {{\n{CALLS}  }}\n}}\n", "A.f"),
    ("a.c", f"static int *f(int x) {{\n{CALLS}}}\n", "f"),
    ("a.cpp", f"namespace n {{\ntemplate <class T>\nclass A {{\n  int f() {{\n{CALLS}  }}\n}};\n}}\n", "n.A.f"),
    ("a.cpp", f"void Log::flush(int level) {{\n{CALLS}}}\n", "Log.flush"),
]


class TestEveryLine:
    @given(st.lists(PARTS, max_size=120).map("".join), st.sampled_from(NAMES))
    @settings(deadline=None, max_examples=300)
    def test_is_in_exactly_one_chunk(self, text: str, path: str) -> None:
        made = chunks(text, path)
        if not text.strip() and not made:
            return
        line = 1
        for chunk in made:
            assert chunk.start_line == line
            assert chunk.end_line >= chunk.start_line
            line = chunk.end_line + 1
        assert "".join(chunk.text for chunk in made) == text
        assert len({chunk.id for chunk in made}) == len(made)

    @given(st.lists(PARTS, max_size=200).map("".join), st.sampled_from(NAMES))
    @settings(deadline=None, max_examples=150)
    def test_and_no_chunk_is_longer_than_a_passage_but_for_one_long_line(self, text: str, path: str) -> None:
        for chunk in chunks(text, path):
            assert len(chunk.text) <= TARGET or chunk.start_line == chunk.end_line

    @pytest.mark.parametrize("package", ["fastapi", "httpx", "typer", "starlette"])
    def test_of_real_packages_too(self, package: str) -> None:
        folder = Path(fastapi.routing.__file__).parents[1] / package
        files = sorted(folder.rglob("*.py"))
        assert files
        for file in files:
            text = file.read_text("utf-8")
            made = chunks(text, file.name)
            assert "".join(chunk.text for chunk in made) == text or not text.strip()


class TestDefinitions:
    def test_a_real_module_is_cut_at_its_definitions(self) -> None:
        text = inspect.getsource(fastapi.routing)
        made = chunks(text)
        whole = [c for c in made if c.symbol and c.text.lstrip().startswith(("def ", "async def ", "class ", "@"))]
        assert len(whole) > len(made) / 6
        assert any(c.symbol == "APIRouter.include_router" for c in made)
        (first,) = [c for c in made if "def serialize_response(" in c.text]
        assert first.symbol == "serialize_response"

    @pytest.mark.parametrize(("path", "text", "expected"), SAMPLES)
    def test_symbols_are_dotted_paths_in_every_language(self, path: str, text: str, expected: str) -> None:
        assert expected in symbols(text, path)

    def test_comments_and_decorators_stay_with_what_follows(self) -> None:
        body = long("    value = compute(value)\n", 20)
        text = f"import os\n\n{body.replace('    ', '')}\n# Why f is.\n# And how.\n@cached\ndef f():\n{body}"
        (chunk,) = [c for c in chunks(text) if "def f" in c.text]
        assert chunk.text.startswith("# Why f is.\n# And how.\n@cached\ndef f():")

    def test_small_siblings_are_one_chunk_and_one_definition_names_it(self) -> None:
        assert symbols("import os\n\ndef only():\n    pass\n", "a.py") == ["only"]
        assert symbols("def a(): ...\n\ndef b(): ...\n", "a.py") == [None]
        assert symbols("class A:\n    def a(self): ...\n\n    def b(self): ...\n", "a.py") == ["A"]

    def test_a_large_function_is_cut_between_its_statements(self) -> None:
        statement = "    if a:\n        b = [\n            1,\n        ]\n"
        made = chunks("def f():\n" + statement * 60)
        assert len(made) > 3
        assert {c.symbol for c in made} == {"f"}
        assert all(c.text.startswith(("def f", "    if a:")) for c in made)

    def test_source_that_does_not_parse_is_cut_by_lines(self) -> None:
        found = chunk_file("a.py", "<<<<<<< ours ???\n)))) not python ((((\n" * 100, "h")
        assert found.tree is None
        assert len(found.chunks) > 1
        assert {c.symbol for c in found.chunks} == {None}


class TestOtherText:
    def test_markdown_is_cut_at_headings_which_stand_in_the_header(self) -> None:
        watch = f"## Watch\n\n```sh\n# no heading\n```\n{long('More. ', 90)}\n\n"
        text = f"# Guide\n\n{long('Words. ', 90)}\n\n{watch}Other\n-----\n\n{long('End. ', 120)}\n"
        made = chunks(text, "docs/g.md")
        assert [c.header for c in made] == ["docs/g.md Guide", "docs/g.md Guide Watch", "docs/g.md Guide Other"]
        assert made[1].text.startswith("## Watch")
        assert {c.language for c in made} == {"markdown"}

    def test_other_text_is_cut_at_empty_lines(self) -> None:
        made = chunks("\n".join([*["words " * 10] * 8, ""] * 5), "notes.txt")
        assert len(made) == 5
        assert {c.language for c in made} == {None}

    def test_a_line_without_end_keeps_its_beginning(self) -> None:
        (chunk,) = chunks("x" * 1_000_000, "data.txt")
        assert (chunk.start_line, chunk.end_line, len(chunk.text)) == (1, 1, MAX_LINE)

    @pytest.mark.parametrize("text", ["", "\n\n\n", "  \t\n"])
    def test_nothing_has_no_chunks(self, text: str) -> None:
        assert chunks(text) == ()


class TestBounds:
    @pytest.mark.parametrize("path", ["a.py", "a.js", "a.cpp", "a.md", "a.txt"])
    @pytest.mark.parametrize(
        "text",
        ["(" * 1_000_000, "(\n" * 200_000, "x" * 1_000_000, "{(<" * 300_000, "if x:\n" * 100_000, "a+\n" * 300_000,
         json.dumps([[[["x"] * 10] * 10] * 10] * 20, indent=1), "# a\n" * 200_000],
        ids=["parens", "nested", "line", "brackets", "ifs", "sum", "json", "headings"],
    )  # fmt: skip
    def test_no_text_is_slow(self, text: str, path: str) -> None:
        began = time.process_time()
        chunk_file(path, text, "h")
        assert time.process_time() - began < 8

    def test_a_huge_text_is_refused(self) -> None:
        with pytest.raises(FileTooLarge, match=r"a\.py"):
            chunk_file("a.py", "x" * (MAX_CHARACTERS + 1), "h")
