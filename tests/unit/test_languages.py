"""Which language a file is in, and its tree: real grammars."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from app.memory.languages import LANGUAGES, ParseAborted, grammar, language_of, parse

SAMPLES = {
    "python": b"def f(x):\n    return x\n",
    "javascript": b"const a = () => <b>{1}</b>;\n",
    "typescript": b"interface P { a?: number }\nfunction f<T>(x: T): T { return x }\n",
    "tsx": b"const a = (p: P): JSX.Element => <b>{p.a}</b>;\n",
    "go": b"package a\n\nfunc (s *S) F() error { return nil }\n",
    "rust": b"impl<T> S<T> { fn f(&self) -> u8 { 1 } }\n",
    "java": b"class A { int f() { return 1; } }\n",
    "c": b"static int f(int *x) { return *x; }\n",
    "cpp": b"namespace a { template <class T> class B { T f() const; }; }\n",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_its_grammar(language: str) -> None:
    root = parse(SAMPLES[language], language).root_node
    assert not root.has_error
    assert root.child_count >= 1
    assert grammar(language) is grammar(language)


@pytest.mark.parametrize(
    ("path", "first_line", "language"),
    [
        ("a/b.py", "", "python"),
        ("A.PYI", "", "python"),
        ("a.test.tsx", "", "tsx"),
        ("x.mjs", "", "javascript"),
        ("x.h", "", "cpp"),
        ("x.c", "", "c"),
        ("README.md", "", "markdown"),
        ("SConstruct", "", "python"),
        ("run", "#!/usr/bin/env python3.11", "python"),
        ("run", "#!/usr/bin/env -S node --no-warnings", "javascript"),
        ("run", "#!/usr/bin/python", "python"),
        ("run", "#!python", "python"),
        ("run", "#!/bin/sh", None),
        ("run.txt", "#!/usr/bin/env python3", None),
        ("python", "", None),
        (".py", "", None),
        ("", "", None),
        ("a.py/b", "", None),
        ("odd\n\udcff.rs", "", "rust"),
    ],
)
def test_by_name_and_by_first_line(path: str, first_line: str, language: str | None) -> None:
    assert language_of(path, first_line) == language


def test_a_first_line_without_end_is_read_quickly() -> None:
    assert language_of("run", "#!" + "/usr/bin/env A=1 " * 100_000) is None


def test_an_adversarial_source_is_given_up_and_the_next_one_parsed() -> None:
    with pytest.raises(ParseAborted):
        parse(b"{(<" * 300_000, "python", cpu_seconds=0.05)
    assert not parse(SAMPLES["python"], "python").root_node.has_error


def test_other_threads_run_while_one_parses() -> None:
    ticks, done = [0], threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    before = ticks[0]
    parse(b"a+" * 200_000, "python")
    between = ticks[0] - before
    done.set()
    thread.join()
    assert between > 3


def test_an_unknown_language_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        parse(b"", "cobol")


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    program = (
        "import sys, app.memory.languages as l; l.language_of('a.py');"
        "print([m for m in sys.modules if m.startswith('tree_sitter')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
