"""A wish for a long answer is a ceiling, not a reason to turn a prompt away."""

from __future__ import annotations

import pytest

from app.context.blocks import CodeChunk, ContextWindow, Material
from app.context.builder import ContextBuilder, output_reserve
from app.context.tokens import TokenCounter
from app.errors import ContextTooLarge

WINDOW = 8192


async def built(material: Material, wanted: int | None) -> ContextWindow:
    builder = ContextBuilder(TokenCounter())
    prepared = await builder.prepare(material)
    return await builder.fit(prepared, model_id="m", window=WINDOW, wanted_output=wanted, tokenizer="llama3")


def asking(words: int) -> Material:
    return Material(messages=[{"role": "user", "content": "word " * words}])


@pytest.mark.parametrize("wanted", [8192, 100_000])
async def test_a_short_question_gets_nearly_all_of_the_window(wanted: int) -> None:
    window = await built(asking(1), wanted)
    assert window.reserved_output + window.input_tokens <= WINDOW
    assert window.reserved_output > WINDOW - 50


async def test_a_wish_that_fits_is_kept() -> None:
    assert (await built(asking(100), 3000)).reserved_output == 3000


async def test_what_can_be_trimmed_leaves_half_of_the_window_to_a_wish() -> None:
    chunks = [CodeChunk(f"line_{i} = {i}\n" * 200, path=f"m{i}.py", similarity=0.5) for i in range(30)]
    window = await built(Material(messages=[{"role": "user", "content": "hi"}], chunks=chunks), 100_000)
    assert window.reserved_output == WINDOW // 2
    assert window.input_tokens <= WINDOW // 2


async def test_what_cannot_be_trimmed_pushes_a_wish_back_to_the_usual_reserve() -> None:
    window = await built(asking(5000), 100_000)
    assert window.reserved_output == output_reserve(WINDOW, None, None) == 2048


async def test_and_no_further() -> None:
    with pytest.raises(ContextTooLarge):
        await built(asking(7000), 100_000)
