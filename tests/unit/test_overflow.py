"""What providers say about prompts that are too long, and what follows from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.llm.overflow import SHRINK, Told, next_shrink, told


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
            Told(8192, 9000),
        ),
        (
            "This model's maximum context length is 4096 tokens. However, you requested 4600 tokens (4100 in the "
            "messages, 500 in the completion).",
            Told(4096, 4600),
        ),
        ("prompt is too long: 208310 tokens > 200000 maximum", Told(200_000, 208_310)),
        (
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            Told(1_048_576, 1_200_000),
        ),
        ("prompt too long; exceeded max context length by 1804 tokens", Told(excess=1804)),
        ("the request (611 tokens) exceeds the available context size (512 tokens), try increasing it", Told(512, 611)),
        ("Current length is 9,012 while limit is 8,192", Told(8192, 9012)),
        ("context length of only 4096 tokens", Told(4096)),
        ("please reduce the length of the messages", Told()),
        ("", Told()),
    ],
)
def test_the_numbers_are_read(words: str, numbers: Told) -> None:
    assert told(words) == numbers


def test_the_next_prompt_is_sized_by_what_was_said() -> None:
    words = "maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    shrink = next_shrink(words, sent=6_000, window=8_192, reserved=2_048, shrink=1.0)
    assert shrink * (8_192 - 2_048) <= 6_000 * (8_192 - 2_048) / 9_000
    assert shrink > 0.6


@pytest.mark.parametrize(
    "words",
    [
        "too long",
        "prompt is too long: 208310 tokens > 200000 maximum",  # nobody sent that much
        "prompt is too long: 12 tokens > 10 maximum",
        "maximum context length is 99999 tokens",
        "prompt too long; exceeded max context length by 90000 tokens",
    ],
)
def test_what_cannot_be_true_is_not_believed(words: str) -> None:
    assert next_shrink(words, sent=6_000, window=8_192, reserved=2_048, shrink=0.8) == 0.8 * SHRINK


@given(
    words=st.from_regex(
        r"maximum context length is [0-9]{1,7} tokens, you requested [0-9]{1,7} tokens", fullmatch=True
    ),
    sent=st.integers(1, 100_000),
    window=st.integers(512, 200_000),
    shrink=st.floats(0.1, 1.0),
)
def test_it_never_grows(words: str, sent: int, window: int, shrink: float) -> None:
    found = next_shrink(words, sent=sent, window=window, reserved=window // 4, shrink=shrink)
    assert 0 < found <= shrink
