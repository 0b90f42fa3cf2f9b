"""Tokens to micro-dollars, exactly, or unknown. Unknown is None, never zero.

A price in dollars per million tokens is the same number in micro-dollars per token, so a cost is a plain sum of
products in `Decimal`, rounded once, half up, to a whole micro-dollar.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext

from app.routing.catalog import Price
from app.usage.records import CostSource

_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """What a call used. `input_tokens` includes the cached and the written ones, `output_tokens` the reasoning ones."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount (None: unknown) and how it is known."""

    micro_usd: int | None
    source: CostSource


def cost(tokens: TokenCounts, price: Price | None) -> int | None:
    """What `tokens` cost at `price`, in micro-dollars; None where the price or a count that it needs is unknown.

    Cached input and cache writes have their own prices where those are known, and the input price where not (which
    over-states cached input rather than hiding it); reasoning tokens are output, at their own price where the provider
    has one. Counts a provider got wrong (negative; more cached than there was
    input) are read as the nearest that makes sense.
    """
    if price is None:
        return None
    if not (price.input or price.output or price.cached_input or price.cache_write or price.reasoning):
        return 0  # a local model costs nothing, whatever it counted
    if tokens.input_tokens is None or tokens.output_tokens is None:
        return None
    total = max(tokens.input_tokens, 0)
    cached = min(max(tokens.cached_input_tokens or 0, 0), total)
    written = min(max(tokens.cache_write_tokens or 0, 0), total - cached)
    cached_price = price.input if price.cached_input is None else price.cached_input
    write_price = price.input if price.cache_write is None else price.cache_write
    output = max(tokens.output_tokens, 0)
    thought = min(max(tokens.reasoning_tokens or 0, 0), output)
    thought_price = price.output if price.reasoning is None else price.reasoning
    with localcontext(prec=50):
        amount = (
            (total - cached - written) * price.input
            + cached * cached_price
            + written * write_price
            + (output - thought) * price.output
            + thought * thought_price
        )
        return int(amount.quantize(_ONE, rounding=ROUND_HALF_UP))


def price_attempt(tokens: TokenCounts, price: Price | None, *, reported: bool) -> Cost:
    """The cost of an attempt as the ledger stores it.

    `reported`: the provider counted these tokens (computed); False: we did (estimated). A local model's zero is
    computed either way: it does not depend on the count. No price, or no count: unknown.
    """
    amount = cost(tokens, price)
    if amount is None:
        return Cost(None, CostSource.UNKNOWN)
    exact = reported or (price is not None and not price.input and not price.output)
    return Cost(amount, CostSource.COMPUTED if exact else CostSource.ESTIMATED)


def estimate(input_tokens: int, max_output_tokens: int, price: Price | None) -> int | None:
    """The most a call can cost, in micro-dollars: nothing cached, every output token used. None: price unknown."""
    return cost(TokenCounts(input_tokens=input_tokens, output_tokens=max_output_tokens), price)


def to_usd(micro_usd: int | None) -> float | None:
    """Micro-dollars as the dollars of a JSON answer; None stays None."""
    return None if micro_usd is None else micro_usd / 1_000_000
