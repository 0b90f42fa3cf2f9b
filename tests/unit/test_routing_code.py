"""contains_code: right on texts it was not made with, and bounded on any text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.code import SAMPLE_CHARACTERS, contains_code, messages_contain_code
from bench.contains_code import SAMPLES, mistakes


def test_at_least_93_in_100_are_right() -> None:
    assert 1 - len(mistakes(SAMPLES)) / len(SAMPLES) >= 0.93


def test_prose_is_hardly_ever_taken_for_code() -> None:
    prose = [sample for sample in SAMPLES if sample[2] == "prose"]
    assert len(mistakes(prose)) <= 1


@pytest.mark.parametrize(
    "unit", ["a", " ", "\n", "(", "a b ", "word_ ", "`", "<a ", "x=", "[a", "{\n", "1;", "é", "\ud800"]
)
def test_long_texts_take_bounded_time(unit: str) -> None:
    start = time.perf_counter()
    contains_code(unit * 500_000)
    assert time.perf_counter() - start < 1.0  # a few milliseconds; a quadratic pattern would take minutes


@pytest.mark.parametrize("where", ["start", "middle", "end"])
def test_code_in_a_long_text_is_seen(where: str) -> None:
    prose, code = "Some quiet words about the sea. " * 4_000, "\ndef add(a, b):\n    return a + b\n"
    half = len(prose) // 2
    text = {"start": code + prose, "middle": prose[:half] + code + prose[half:], "end": prose + code}[where]
    assert len(text) > 4 * SAMPLE_CHARACTERS
    assert contains_code(text)
    assert not contains_code(prose)


def test_addresses_are_no_code() -> None:
    assert not contains_code("Look at https://example.com/a.b(c)?x==y&&z and write to a.b@example.com")


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    assert contains_code(text) in (True, False)


def test_messages() -> None:
    code, prose = "def f(x):\n    return x", "Good morning!"
    assert messages_contain_code([{"role": "user", "content": code}, {"role": "user", "content": prose}])
    assert messages_contain_code(
        [{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": code}, "odd"]}]
    )
    assert not messages_contain_code([{"role": "user", "content": prose}, {"role": "assistant", "content": None}, {}])


def test_a_long_conversation_is_not_read_without_end() -> None:
    old = {"role": "user", "content": "def f(x):\n    return x"}
    long = {"role": "user", "content": "Some quiet words about the sea. " * 2_000}
    assert messages_contain_code([old, *[long] * 3])
    assert not messages_contain_code([old, *[long] * 1_000])
