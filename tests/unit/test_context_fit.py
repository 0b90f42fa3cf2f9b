"""The invariants of `fit`, as properties over all small inputs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.context.blocks import Priority
from app.context.fit import DoesNotFit, FitPlan, Sized, fit


@st.composite
def blocks(draw: st.DrawFn) -> list[Sized]:
    result = []
    for index in range(draw(st.integers(0, 14))):
        sizes = sorted(draw(st.sets(st.integers(0, 60), min_size=1, max_size=3)), reverse=True)
        priority = draw(st.sampled_from(Priority))
        result.append(Sized(f"b{index}", priority, draw(st.integers(0, 5)), tuple(sizes)))
    return result


def planned(offered: list[Sized], budget: int) -> FitPlan | None:
    if sum(b.sizes[0] for b in offered if b.priority == 1) > budget:
        with pytest.raises(DoesNotFit):
            fit(offered, budget)
        return None
    return fit(offered, budget)


BUDGET = st.integers(0, 400)


@given(blocks(), BUDGET)
def test_never_over_the_budget_and_the_sum_is_right(offered: list[Sized], budget: int) -> None:
    if plan := planned(offered, budget):
        total = sum(b.sizes[plan.chosen[b.id]] for b in offered if b.id in plan.chosen)
        assert total == plan.tokens <= budget


@given(blocks(), BUDGET)
def test_priority_1_whole_or_an_error(offered: list[Sized], budget: int) -> None:
    plan = planned(offered, budget)
    if plan is not None:
        assert all(plan.chosen[b.id] == 0 for b in offered if b.priority == 1)


@given(blocks(), BUDGET, st.randoms(use_true_random=False))
def test_input_order_is_irrelevant(offered: list[Sized], budget: int, rng: random.Random) -> None:
    shuffled = list(offered)
    rng.shuffle(shuffled)
    assert planned(offered, budget) == planned(shuffled, budget)


@given(blocks(), BUDGET)
def test_fitting_what_was_kept_keeps_it(offered: list[Sized], budget: int) -> None:
    if plan := planned(offered, budget):
        assert fit([b for b in offered if b.id in plan.chosen], budget) == plan


@given(blocks(), BUDGET)
def test_no_priority_2_goes_while_priority_3_could_make_room(offered: list[Sized], budget: int) -> None:
    plan = planned(offered, budget)
    if plan is None:
        return
    without_3 = fit([b for b in offered if b.priority != 3], budget)
    for block in offered:
        if block.priority == 2:
            assert plan.chosen.get(block.id) == without_3.chosen.get(block.id)


@given(blocks(), BUDGET, st.sampled_from([2, 3]))
def test_nothing_kept_displaces_a_better_ranked_one(offered: list[Sized], budget: int, priority: int) -> None:
    """A block is dropped only if it does not fit beside the shortest forms of all better-ranked kept ones."""
    plan = planned(offered, budget)
    if plan is None:
        return
    higher = sum(b.sizes[plan.chosen[b.id]] for b in offered if b.id in plan.chosen and b.priority < priority)
    group = sorted((b for b in offered if b.priority == priority), key=lambda b: (b.rank, b.id))
    beside = 0
    for block in group:
        if block.id in plan.chosen:
            beside += block.sizes[-1]
        else:
            assert higher + beside + block.sizes[-1] > budget


@given(blocks(), BUDGET)
def test_shrinks_before_it_drops_and_grows_while_there_is_room(offered: list[Sized], budget: int) -> None:
    plan = planned(offered, budget)
    if plan is None:
        return
    spare = budget - plan.tokens
    for block in offered:
        variant = plan.chosen.get(block.id)
        if variant:  # a shortened block would not have fitted any longer than it is
            assert block.sizes[variant - 1] - block.sizes[variant] > spare


@given(blocks(), BUDGET)
def test_all_goes_in_whole_where_it_fits(offered: list[Sized], budget: int) -> None:
    if sum(b.sizes[0] for b in offered) <= budget:
        assert fit(offered, budget).chosen == {b.id: 0 for b in offered}


def test_what_does_not_fit_is_skipped_and_the_next_one_tried() -> None:
    offered = [Sized("big", 3, 0, (90,)), Sized("small", 3, 1, (10,)), Sized("file", 2, 0, (80, 30))]
    assert dict(fit(offered, 50).chosen) == {"file": 1, "small": 0}
    assert dict(fit(offered, 95).chosen) == {"file": 0, "small": 0}
    with pytest.raises(DoesNotFit, match="60 tokens"):
        fit([Sized("prompt", 1, 0, (60,))], 59)
