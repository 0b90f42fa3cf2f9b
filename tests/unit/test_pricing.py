from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.catalog import Price
from app.usage.pricing import Cost, TokenCounts, cost, estimate, price_attempt, to_usd
from app.usage.records import CostSource

SONNET = Price(Decimal(3), Decimal(15), cached_input=Decimal("0.30"), cache_write=Decimal("3.75"))
THINKER = Price(Decimal(1), Decimal(2), reasoning=Decimal(5))
LOCAL = Price(Decimal(0), Decimal(0))


@pytest.mark.parametrize(
    ("tokens", "price", "expected"),
    [
        (TokenCounts(3200, 850), SONNET, 22_350),  # the seed's example row: 0.0224 dollars
        (TokenCounts(1000, 0, cached_input_tokens=1000), SONNET, 300),
        (TokenCounts(1000, 0, cache_write_tokens=1000), SONNET, 3750),
        (TokenCounts(1000, 10, 400, 100), SONNET, 500 * 3 + 120 + 375 + 150),
        (TokenCounts(1000, 0, 400, 100), Price(Decimal(3), Decimal(15)), 3000),  # no cache prices: the input price
        (TokenCounts(1, 0), Price(Decimal("0.5"), Decimal(0)), 1),  # half up
        (TokenCounts(1, 0), Price(Decimal("0.49"), Decimal(0)), 0),
        (TokenCounts(3, 1), Price(Decimal("0.1"), Decimal("0.2")), 1),  # rounded once: 0.5, not 0.3 and 0.2
        (TokenCounts(100, 0, cached_input_tokens=500), SONNET, 30),  # more cached than there was
        (TokenCounts(100, -5, cached_input_tokens=-1), SONNET, 300),
        (TokenCounts(0, 0), SONNET, 0),
        (TokenCounts(10, 10), None, None),
        (TokenCounts(None, 10), SONNET, None),
        (TokenCounts(10, None), SONNET, None),
        (TokenCounts(None, None), LOCAL, 0),
        (TokenCounts(0, 100, reasoning_tokens=40), SONNET, 1500),  # thought is output
        (TokenCounts(0, 100, reasoning_tokens=40), THINKER, 60 * 2 + 40 * 5),
        (TokenCounts(0, 100, reasoning_tokens=400), THINKER, 500),  # no more thought than written
        (TokenCounts(0, 100, reasoning_tokens=-4), THINKER, 200),
        (TokenCounts(10**15, 10**15), SONNET, 18 * 10**15),
    ],
)
def test_cost(tokens: TokenCounts, price: Price | None, expected: int | None) -> None:
    assert cost(tokens, price) == expected


@pytest.mark.parametrize(
    ("tokens", "price", "reported", "expected"),
    [
        (TokenCounts(10, 10), SONNET, True, Cost(180, CostSource.COMPUTED)),
        (TokenCounts(10, 10), SONNET, False, Cost(180, CostSource.ESTIMATED)),
        (TokenCounts(10, 10), None, True, Cost(None, CostSource.UNKNOWN)),
        (TokenCounts(None, None), SONNET, False, Cost(None, CostSource.UNKNOWN)),
        (TokenCounts(10, 10), LOCAL, False, Cost(0, CostSource.COMPUTED)),
        (TokenCounts(None, None), LOCAL, True, Cost(0, CostSource.COMPUTED)),
    ],
)
def test_where_a_cost_comes_from(tokens: TokenCounts, price: Price | None, reported: bool, expected: Cost) -> None:
    assert price_attempt(tokens, price, reported=reported) == expected


counts = st.integers(0, 10**7)
prices = st.decimals(0, 1000, places=4)


@given(counts, counts, counts, counts, prices, prices, prices, prices)
def test_exact_to_half_a_micro_dollar(
    plain: int, cached: int, written: int, out: int, p: Decimal, pc: Decimal, pw: Decimal, po: Decimal
) -> None:
    tokens = TokenCounts(plain + cached + written, out, cached, written)
    exact = plain * Fraction(p) + cached * Fraction(pc) + written * Fraction(pw) + out * Fraction(po)
    amount = cost(tokens, Price(p, po, pc, pw))
    assert amount is not None
    assert -Fraction(1, 2) < exact - amount <= Fraction(1, 2) or amount - exact == Fraction(1, 2)


@given(counts, counts, counts)
def test_an_estimate_is_never_too_low(given_in: int, limit: int, cached: int) -> None:
    price = Price(Decimal(3), Decimal(15), cached_input=Decimal("0.3"))
    actual = cost(TokenCounts(given_in, limit // 2, min(cached, given_in)), price)
    bound = estimate(given_in, limit, price)
    assert actual is not None
    assert bound is not None
    assert actual <= bound


def test_unknown_is_never_zero() -> None:
    assert estimate(10, 10, None) is None
    assert to_usd(None) is None
    assert to_usd(22_350) == 0.02235
