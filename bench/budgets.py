"""What budgets add to a request: reserving, beginning and settling, by how many budgets cover it.

    python -m bench.budgets [--calls 20000]

One loop, no model, no ledger. The floor is the same number of calls of an empty function.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from app.config.loader import Config
from app.config.schema import AgentsFile, ProfilesFile
from app.usage.budgets import Budgets, Reservation
from app.usage.limits import Quote
from app.usage.spend import Scope

QUOTE = Quote("openai/x", False, 30_000, 8_000, 3_000)
SCOPE = Scope("home", None, "chat")
PERIODS = ("hour", "day", "week", "month", "request")


def config(number: int) -> Config:
    budgets = [
        {"period": PERIODS[i % 5], "limit_usd": 1e6, "on_limit": "block", "timezone": "Europe/Berlin"}
        for i in range(number)
    ]
    made = ProfilesFile.model_validate({"profiles": [{"id": "home", "budgets": budgets}]})
    return cast(Config, SimpleNamespace(profiles=made, agents=AgentsFile(), default_profile=made.profiles[0]))


def microseconds(calls: int, one: Callable[[], None]) -> float:
    one()
    began = time.perf_counter()
    for _ in range(calls):
        one()
    return (time.perf_counter() - began) / calls * 1e6


def once(budgets: Budgets) -> Callable[[], None]:
    def call() -> None:
        found: Any = budgets.reserve(SCOPE, QUOTE)
        assert isinstance(found, Reservation)
        budgets.begin(found)
        budgets.settle(found, 12_000, 0)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    calls = parser.parse_args().calls

    print(f"{'budgets that cover it':>22} {'µs a request':>13}")
    print(f"{'empty calls':>22} {microseconds(calls, lambda: None):13.2f}")
    for number in (0, 1, 5):
        made = config(number)
        budgets = Budgets(lambda made=made: made, lambda: datetime.now(UTC))  # type: ignore[misc]
        print(f"{number:>22} {microseconds(calls, once(budgets)):13.2f}")


if __name__ == "__main__":
    main()
