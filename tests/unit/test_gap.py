"""A gap: what of it fits, and the marks of families of models, there and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.context.gap import Gap
from app.llm.filling import FAMILIES, marks_of, read_marks

texts = st.text(alphabet="ab\n é", max_size=200)


@given(texts, st.none() | texts, st.integers(0, 500))
def test_what_is_kept_is_the_nearest_to_the_cursor(prefix: str, suffix: str | None, room: int) -> None:
    kept = Gap(prefix, suffix).nearest(room)
    assert kept.characters <= max(room, 0)
    assert prefix.endswith(kept.prefix)
    assert (suffix or "").startswith(kept.suffix or "")
    assert (kept.suffix is None) == (suffix is None)


@given(texts, texts)
def test_nothing_is_cut_that_fits(prefix: str, suffix: str) -> None:
    gap = Gap(prefix, suffix)
    assert gap.nearest(gap.characters) == gap


@given(st.sampled_from(FAMILIES), texts, texts)
def test_marks_are_read_as_they_are_written(family: object, prefix: str, suffix: str) -> None:
    for marks in FAMILIES:
        if marks is family:
            assert read_marks(marks.prompt(prefix, suffix)) == Gap(prefix, suffix)


def test_braces_of_the_text_are_no_places_of_the_template() -> None:
    marks = marks_of("codellama:7b-code")
    assert marks is not None
    assert marks.prompt("{second}", "{first}") == "<PRE> {second} <SUF>{first} <MID>"


def test_families_are_known_by_the_models_name() -> None:
    known = {
        "codellama:13b": "<PRE>",
        "qwen2.5-coder:1.5b": "<|fim_prefix|>",
        "codegemma:2b": "<|fim_prefix|>",
        "deepseek-coder-v2:16b": "<｜fim▁begin｜>",
        "starcoder2:3b": "<fim_prefix>",
        "codestral:22b": "[SUFFIX]",
    }
    for name, start in known.items():
        marks = marks_of(name)
        assert marks is not None
        assert marks.template.startswith(start)
    assert marks_of("llama3:8b") is None
    assert read_marks("def add(a, b):") is None
