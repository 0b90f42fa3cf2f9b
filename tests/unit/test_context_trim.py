"""Shorter variants of files and traces, merged chunks, fences."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.context.blocks import CodeChunk, OpenFile
from app.context.chunks import chunk_id, tidy
from app.context.fence import fenced
from app.context.trace import focus_lines, parse_trace
from app.context.trim import cut_line, file_variants, lines_of, shorten_prose, with_markers

PYTHON_FILE = "import os\nfrom pathlib import Path\n\n" + "".join(
    f"class C{i}:\n    def method_{i}(self, x):\n" + "".join(f"        step_{i}_{j} = x + {j}\n" for j in range(30))
    for i in range(20)
)

PYTHON_TRACE = """Traceback (most recent call last):
  File "/home/me/project/src/main.py", line 12, in <module>
    run()
  File "/home/me/project/src/train.py", line 88, in step
    loss.backward()
    ~~~~~~~~~~~~~^^
  File "/usr/lib/python3.11/site-packages/torch/autograd.py", line 200, in backward
    run_backward(tensors)
RuntimeError: CUDA out of memory
  tried to allocate 2 GiB
"""
NODE_TRACE = """TypeError: Cannot read properties of undefined (reading 'id')
    at Map.get (node:internal/map:12:5)
    at handler (/app/src/routes/user.ts:41:17)
    at Layer.handle (/app/node_modules/express/lib/router/layer.js:95:5)
"""
JAVA_TRACE = """Exception in thread "main" java.lang.NullPointerException: name is null
\tat java.base/java.util.Objects.requireNonNull(Objects.java:233)
\tat com.example.Person.<init>(Person.java:17)
\tat com.example.Main.main(Main.java:5)
"""


@pytest.mark.parametrize(
    ("trace", "message", "path", "line"),
    [
        (PYTHON_TRACE, "RuntimeError: CUDA out of memory", "/home/me/project/src/train.py", 88),
        (NODE_TRACE, "TypeError: Cannot read", "/app/src/routes/user.ts", 41),
    ],
)
def test_a_traces_essence_is_the_message_and_the_innermost_user_frame(
    trace: str, message: str, path: str, line: int
) -> None:
    parsed = parse_trace(trace)
    assert message in parsed.essential
    assert f"{path}" in parsed.essential
    assert str(line) in parsed.essential
    assert "site-packages" not in parsed.essential
    assert "node_modules" not in parsed.essential
    assert parsed.variants[0] == trace


def test_java_frames() -> None:
    parsed = parse_trace(JAVA_TRACE)
    assert [(f.path, f.line) for f in parsed.frames][1] == ("Person.java", 17)
    assert "NullPointerException" in parsed.essential


def test_frames_point_into_the_open_file() -> None:
    assert focus_lines(parse_trace(PYTHON_TRACE), "src/train.py") == [88]
    assert focus_lines(parse_trace(PYTHON_TRACE), "rain.py") == []


def test_long_traces_keep_the_frames_next_to_the_error() -> None:
    frames = "".join(f'  File "/p/a{i}.py", line {i + 1}, in f\n    call_{i}()\n' for i in range(100))
    parsed = parse_trace(f"Traceback (most recent call last):\n{frames}ValueError: no\n")
    assert len(parsed.variants) == 3
    assert "a99.py" in parsed.variants[-1]
    assert "a50.py" not in parsed.variants[1]
    assert "omitted]" in parsed.variants[-1]
    assert all(line in variant for variant in parsed.variants for line in parsed.essential.split("\n"))


@given(st.text(alphabet=st.sampled_from('ab \n\tF:",().0/at'), max_size=400))
def test_any_text_is_a_trace_and_every_variant_holds_its_essence(text: str) -> None:
    parsed = parse_trace(text)
    assert bool(parsed.essential) == bool(text.strip())
    for variant in parsed.variants if text.strip() else ():
        assert all(line in lines_of(variant) for line in lines_of(parsed.essential))


def test_a_long_file_becomes_imports_signatures_and_windows() -> None:
    lines = lines_of(PYTHON_FILE)
    focus = 10 * 32 + 3 + 20
    variants = file_variants(OpenFile(PYTHON_FILE, "a.py", focus), [focus])
    assert variants[0] == PYTHON_FILE
    assert len(variants) >= 3
    middle = variants[2]
    assert "import os" in middle
    assert "class C10:" in middle
    assert "def method_10" in middle
    assert lines[focus - 1] in middle
    assert "step_3_" not in middle
    assert re.search(r"\[lines \d+–\d+ omitted\]", middle)
    assert lines[focus - 1] in variants[-1]


def test_a_file_without_focus_keeps_its_outline_and_its_beginning() -> None:
    variants = file_variants(OpenFile(PYTHON_FILE, "a.py"), [])
    assert "class C19:" in variants[1]
    assert "step_0_0" in variants[-1]


@given(st.lists(st.sampled_from(["def f():", "    x = 1", "", "import a", "\ty", "}"]), min_size=30, max_size=120),
       st.lists(st.integers(-3, 200), max_size=4))  # fmt: skip
def test_kept_and_omitted_lines_are_the_file_in_order(lines: list[str], focus: list[int]) -> None:
    lines = [f"{line} # {number}" for number, line in enumerate(lines)]
    variants = file_variants(OpenFile("\n".join(lines), "a.py"), focus)
    assert [len(v) for v in variants] == sorted((len(v) for v in variants), reverse=True)
    for variant in variants[1:]:
        seen: list[int] = []
        for line in variant.split("\n"):
            gap = re.fullmatch(r"\[lines? (\d+)(?:–(\d+))? omitted\]", line)
            if gap:
                seen += range(int(gap[1]), int(gap[2] or gap[1]) + 1)
            else:
                seen.append(lines.index(line) + 1)
        assert seen == list(range(1, len(lines) + 1))


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\n" * 300_000, "(" * 200_000 + "\n" * 40, " def f(" * 200_000])
def test_trimming_is_linear(text: str) -> None:
    started = time.process_time()
    file_variants(OpenFile(text, "a", 1), [1])
    parse_trace(text)
    assert time.process_time() - started < 6


def test_long_lines_and_messages_are_cut_with_a_marker() -> None:
    assert cut_line("y" * 1_000).endswith("[400 characters omitted]")
    prose = "word " * 1_000
    assert len(shorten_prose(prose, 600)) < 700
    assert "characters omitted" in shorten_prose(prose, 600)
    assert with_markers(["a", "b", "c"], {2}, first_line=10) == "[line 10 omitted]\nb\n[line 12 omitted]"


def chunk(start: int, end: int, similarity: float, path: str = "a.py", version: str = "") -> CodeChunk:
    text = "".join(f"line {number}{version}\n" for number in range(start, end + 1))
    return CodeChunk(text, path, start, end, similarity)


def test_overlapping_chunks_merge_and_the_stronger_one_is_right() -> None:
    tidied = tidy([chunk(1, 10, 0.7, version=" old"), chunk(8, 20, 0.9), chunk(30, 35, 0.8)], None, 0.8)
    assert [chunk_id(m.chunk) for m in tidied.chunks] == ["chunk:a.py:1-20", "chunk:a.py:30-35"]
    assert "line 8\n" in tidied.chunks[0].chunk.text
    assert "line 8 old" not in tidied.chunks[0].chunk.text
    assert tidied.chunks[0].chunk.similarity == 0.9
    assert tidied.chunks[0].strongest == chunk(8, 20, 0.9)


def test_duplicates_and_spans_of_the_open_file_go() -> None:
    file = OpenFile("".join(f"line {n}\n" for n in range(1, 50)), "/home/me/src/a.py")
    tidied = tidy([chunk(3, 5, 0.9, "src/a.py"), chunk(1, 4, 0.9, "b.py"), chunk(1, 4, 0.5, "./b.py")], file, 0.8)
    assert [chunk_id(m.chunk) for m in tidied.chunks] == ["chunk:b.py:1-4"]
    assert tidied.spans == ((3, 5),)
    assert sorted(a.into for a in tidied.absorbed) == ["chunk:b.py:1-4", "the open file"]


SPAN = st.tuples(st.integers(1, 30), st.integers(0, 8), st.sampled_from(["a.py", "b.py"]), st.floats(0, 1))


@given(st.lists(SPAN, max_size=10), st.randoms(use_true_random=False))
def test_no_source_line_twice_none_lost_and_order_irrelevant(
    spans: list[tuple[int, int, str, float]], rng: random.Random
) -> None:
    chunks = [chunk(start, start + length, similarity, path) for start, length, path, similarity in spans]
    tidied = tidy(chunks, None, 0.8)
    shown = [
        (m.chunk.path, number)
        for m in tidied.chunks
        for number in range(m.chunk.start_line or 0, (m.chunk.end_line or 0) + 1)
    ]
    assert len(shown) == len(set(shown))
    assert set(shown) == {(c.path, n) for c in chunks for n in range(c.start_line or 0, (c.end_line or 0) + 1)}
    for m in tidied.chunks:
        numbers = range(m.chunk.start_line or 0, (m.chunk.end_line or 0) + 1)
        assert lines_of(m.chunk.text) == [f"line {number}" for number in numbers]
    rng.shuffle(chunks)
    assert tidy(chunks, None, 0.8).chunks == tidied.chunks


@given(st.lists(st.sampled_from(["`", "```", "`````", "~~~", "\n", "a", "</file>"])).map("".join), st.text(max_size=30))
def test_content_cannot_close_a_block(text: str, label: str) -> None:
    lines = fenced(label, text).split("\n")
    fence = lines[1]
    assert re.fullmatch("`{3,}", fence)
    assert lines[-2] == fence
    assert lines[-1] == ""
    body = "\n".join(lines[2:-2])
    assert fence not in body
    assert body in (text, text.removesuffix("\n"))
