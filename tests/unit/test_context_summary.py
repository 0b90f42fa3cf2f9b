"""Strategies 2 and 3 as values: upgrade, summary; and the calibration of counts."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.context.blocks import Material, Outcome
from app.context.builder import ContextBuilder, Prepared
from app.context.calibration import HIGHEST, LOWEST, STEP_DOWN, STEP_UP, Calibration
from app.context.extract import extractive_summary, sentences_of
from app.context.summary import SummaryPlan, accept_summary, carry_over, fold, plan_summary, summary_material
from app.context.tokens import TokenCounter
from app.context.upgrade import UpgradeOption, choose_upgrade, needs_upgrade

COUNTER = TokenCounter()
COUNTER.load()
BUILDER = ContextBuilder(COUNTER)

STORY = [
    "My training loop dies with CUDA out of memory at step 1200.",
    "Let us look at src/train.py, at the function run_epoch.",
    "I reduced batch_size from 64 to 32, it did not help.",
    "Then we decided to use gradient accumulation over 4 steps instead of a smaller batch.",
    "That was the fix. The loss is now 0.231.",
    "Next the config file format: config/train.toml is not read.",
]


def history(count: int) -> list[dict[str, Any]]:
    return [
        {
            "role": "user" if i % 2 == 0 else "assistant",
            "content": f"{STORY[i % len(STORY)]} (turn {i}) " + "and so on " * 60,
        }
        for i in range(count)
    ]


async def prepared(count: int = 30, **more: Any) -> Prepared:
    return await BUILDER.prepare(
        Material(messages=[{"role": "user", "content": "What now?"}], history=history(count), **more)
    )


def option(model: str, window: int, **more: Any) -> UpgradeOption:
    return UpgradeOption(model, window, None, more.pop("tokenizer", "llama3"), **more)


# -- strategy 2 -----------------------------------------------------------------------------------------------------


async def test_no_upgrade_while_priority_2_is_whole() -> None:
    material = await prepared()
    window = await BUILDER.fit(material, model_id="small", window=2_000, tokenizer="llama3")
    assert any(b.outcome is Outcome.DROPPED for b in window.blocks)
    assert not needs_upgrade(window)
    choice = await choose_upgrade(material, window, [option("large", 100_000)])
    assert choice.option is None


async def test_the_first_permitted_upgrade_that_holds_everything() -> None:
    material = await prepared()
    window = await BUILDER.fit(material, model_id="small", window=600, tokenizer="llama3")
    assert needs_upgrade(window)
    total = await material.total_tokens("llama3")
    choice = await choose_upgrade(
        material,
        window,
        [
            option("not-listed", 10**6, listed=False),
            option("tiny", 400),
            option("enough-for-what-matters", 2_000),
            option("too-small-for-its-tokenizer", total * 4 // 3 + 10, tokenizer="llama2"),
            option("fits", total * 2),
            option("fits-too", total * 4),
        ],
    )
    assert choice.option is not None
    assert choice.option.model_id == "fits"
    assert "tiny" in choice.notes[0]
    unlisted = await choose_upgrade(material, window, [option("not-listed", 10**6, listed=False), option("tiny", 400)])
    assert unlisted.option is not None
    assert unlisted.option.model_id == "not-listed"


async def test_an_upgrade_that_saves_priority_2_is_better_than_none() -> None:
    material = await prepared()
    choice = await choose_upgrade(
        material, None, [option("tiny", 400), option("medium", 2_000), option("other", 2_500)]
    )
    assert choice.option is not None
    assert choice.option.model_id == "medium"
    nothing = await choose_upgrade(material, None, [option("tiny", 400)])
    assert nothing.option is None
    assert len(nothing.notes) == 1


# -- strategy 3 -----------------------------------------------------------------------------------------------------


async def plan(count: int = 30, **more: Any) -> tuple[Prepared, SummaryPlan]:
    material = await prepared(count, **more)
    planned = await plan_summary(material, "llama3")
    assert planned is not None
    return material, planned


async def test_everything_but_the_last_five_is_folded() -> None:
    material, planned = await plan()
    assert planned.block_ids == tuple(f"history:{i}" for i in range(25))
    assert list(planned.messages) == list(material.material.history[:25])
    assert await plan_summary(await prepared(5), "llama3") is None


async def test_folding_puts_the_summary_in_their_place_and_changes_nothing_else() -> None:
    material, planned = await plan()
    before = list(material.material.history)
    folded = await fold(BUILDER, material, planned, "They fixed the OOM with gradient accumulation.")
    window = await BUILDER.fit(folded, model_id="m", window=8_192, tokenizer="llama3")
    assert "They fixed the OOM" in window.messages[0]["content"]
    assert list(window.messages[1:-1]) == before[25:]
    assert [b.id for b in window.blocks if b.outcome is Outcome.SUMMARISED] == [f"history:{i}" for i in range(25)]
    assert list(material.material.history) == before
    assert await folded.total_tokens("llama3") < await material.total_tokens("llama3") / 3


async def test_the_callers_own_messages_fold_too_and_instructions_stay() -> None:
    same = {"role": "user", "content": "again " * 50}  # one object, many times
    messages = [{"role": "system", "content": "Be brief."}, *[same] * 20, {"role": "user", "content": "Now?"}]
    material = await BUILDER.prepare(Material(messages=messages))
    planned = await plan_summary(material, "llama3")
    assert planned is not None
    folded = await fold(BUILDER, material, planned, "They asked again and again.")
    window = await BUILDER.fit(folded, model_id="m", window=8_192, tokenizer="llama3")
    assert [m["content"] for m in window.messages[1:]] == [same["content"]] * 5 + ["Now?"]
    assert window.messages[0]["content"].startswith("Be brief.")


async def test_the_summarisers_request_fits_its_window() -> None:
    _, planned = await plan(200, summary="Earlier they talked about ``` fences.")
    for room in (500, 2_000, 50_000):
        request = summary_material(planned, room)
        fitted = await BUILDER.fit(
            await BUILDER.prepare(request), model_id="s", window=room + 1_200, wanted_output=400, tokenizer="llama3"
        )
        asked = fitted.messages[-1]["content"]
        assert "Earlier they talked" in asked
        assert "(turn 194)" in asked
    assert "(turn 0)" in asked


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("  \n", "empty"),
        ("Error: model not found", "error"),
        ('{"error": {"message": "overloaded"}}', "error"),
        ("I'm sorry, but I cannot summarise this.", "error"),
        ("word " * 20_000, "not shorter"),
    ],
)
async def test_a_bad_summary_is_refused(answer: str, reason: str) -> None:
    _, planned = await plan()
    verdict = accept_summary(planned, answer, COUNTER, "llama3")
    assert verdict.text is None
    assert reason in verdict.reason


async def test_facts_are_carried_over_and_it_stays_shorter() -> None:
    _, planned = await plan()
    verdict = accept_summary(planned, "The user fixed an OOM in src/train.py.", COUNTER, "llama3")
    assert verdict.text is not None
    carried = verdict.text.split("\n", 1)[1]
    for fact in ("config/train.toml", "run_epoch", "batch_size", "0.231", "gradient accumulation over 4 steps"):
        assert fact in carried
    assert "src/train.py" not in carried.split("Paths:")[1].split("\n")[0]
    assert COUNTER.count(verdict.text, "llama3") < planned.tokens


@given(st.lists(st.text(max_size=200), max_size=6), st.text(max_size=100))
def test_what_is_carried_is_bounded_and_was_there(texts: list[str], summary: str) -> None:
    carried = carry_over(texts, summary)
    assert len(carried) <= 1_300
    assert carry_over(texts, summary) == carried


@pytest.mark.parametrize("text", ["a-" * 100_000, "a_" * 100_000, "/" * 200_000, "aA" * 100_000, "1," * 100_000])
def test_carrying_over_is_linear(text: str) -> None:
    started = time.process_time()
    carry_over([text], "")
    assert time.process_time() - started < 5


# -- the summary without a model ------------------------------------------------------------------------------------


def test_extractive_summary_takes_the_telling_sentences_in_order() -> None:
    text = " ".join([*STORY, "Hm.", "Well, thanks a lot for everything, friend.", "Nice weather."])
    summary = extractive_summary(text, 60)
    assert 0 < len(summary) <= 180
    chosen = summary.split("\n")
    assert chosen == [sentence for sentence in sentences_of(text) if sentence in chosen]
    assert "Nice weather." not in chosen


@given(st.text(max_size=2_000), st.integers(0, 200))
def test_extractive_summary_is_bounded_and_verbatim(text: str, tokens: int) -> None:
    summary = extractive_summary(text, tokens)
    assert len(summary) <= 3 * tokens
    assert all(line in text for line in summary.split("\n"))


# -- calibration ----------------------------------------------------------------------------------------------------


def test_the_factor_moves_towards_what_is_reported() -> None:
    calibration, truth = Calibration(), 1.4
    for _ in range(60):
        predicted = round(1_000 * calibration.factor("m"))
        calibration = calibration.observed("m", predicted=predicted, reported=round(1_000 * truth))
    assert calibration.factor("m") == pytest.approx(truth, rel=0.02)
    assert calibration.factor("other") == 1.0


@pytest.mark.parametrize(
    ("predicted", "reported", "suspect"),
    [
        (1_000, None, False),
        (100, 140, False),
        (1_000, 100, False),
        (1_000, 5_000, False),
        (1_000, 1_100, True),
        (1_000, 0, False),
    ],
)
def test_suspect_samples_are_refused(predicted: int, reported: int | None, suspect: bool) -> None:
    calibration = Calibration({"m": 1.1})
    assert calibration.observed("m", predicted=predicted, reported=reported, suspect=suspect) is calibration


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 30_000)), max_size=40))
def test_steps_and_factors_are_bounded(samples: list[tuple[int, int]]) -> None:
    calibration = Calibration()
    for predicted, reported in samples:
        before = calibration.factor("m")
        calibration = calibration.observed("m", predicted=predicted, reported=reported)
        after = calibration.factor("m")
        assert before * (1 - STEP_DOWN) - 1e-9 <= after <= before * (1 + STEP_UP) + 1e-9
        assert LOWEST <= after <= HIGHEST
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))).factor("m") == pytest.approx(
        calibration.factor("m"), abs=1e-5
    )


@pytest.mark.parametrize("damaged", [None, [], "x", {"m": "1.2"}, {"m": True}, {"m": float("nan")}, {"m": None}])
def test_a_damaged_file_is_no_calibration(damaged: object) -> None:
    assert Calibration.from_json(damaged).factors == {}


def test_only_so_many_models_are_kept() -> None:
    calibration = Calibration()
    for i in range(1_100):
        calibration = calibration.observed(f"m{i}", predicted=1_000, reported=1_100)
    assert len(calibration.factors) == 1_000
    assert calibration.factor("m1099") > 1
