"""How long a decision takes: 200 rules of which the last matches, and a whole route under a few rules.

`python -m bench.rules` prints microseconds per decision, the median of many rounds; the targets are 200 µs for 200
rules and 50 µs for a route.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from app.config.pricemap import load_price_map
from app.config.schema import ModelEntry, ModelsFile, Rule, Timeouts
from app.routing.catalog import build_catalog
from app.routing.facts import RoutingFacts
from app.routing.route import decide
from app.routing.rules import RuleSet

FACTS = RoutingFacts(
    task_type="chat",
    workspace="personal",
    contains_code=True,
    block_cloud_apis=False,
    input_tokens=4_700,
    hour=14,
    metadata={"editor": {"language": "python"}, "path": "/home/me/project/src/train.py"},
)
LOCAL = "ollama/llama3:8b"


def typical(index: int) -> dict[str, Any]:
    """Conditions as people write them, none of which FACTS satisfies."""
    shapes: tuple[dict[str, Any], ...] = (
        {"task_type": ["debugging", "refactoring", f"task-{index}"]},
        {"workspace": f"work-{index}"},
        {"contains_code": True, "input_tokens": {"gt": 32_000 + index}},
        {"task_type": "chat", "hour": {"gte": 20}},
        {"any": [{"agent": f"agent-{index}"}, {"session_private": True}]},
    )
    return shapes[index % len(shapes)]


def hardest(index: int) -> dict[str, Any]:
    """Every rule runs a regular expression over a path and goes into nested metadata."""
    return {"contains_code": True, "metadata.path": {"matches": f"(a+)+_{index}$"}, "metadata.editor.language": "c"}


def rule_set(count: int, conditions: Callable[[int], dict[str, Any]]) -> RuleSet:
    rules = [Rule(name=f"r{i}", conditions=conditions(i), model=LOCAL) for i in range(count - 1)]
    return RuleSet([*rules, Rule(name="default", conditions={}, model=LOCAL, fallback=("builtin/extractive",))])


def median_us(action: Callable[[], object], rounds: int = 200, per_round: int = 10) -> float:
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(per_round):
            action()
        taken.append((time.perf_counter() - start) / per_round * 1e6)
    return statistics.median(taken)


def main() -> None:
    typical_rules, hard_rules, few = rule_set(200, typical), rule_set(200, hardest), rule_set(8, typical)
    catalog = build_catalog(ModelsFile(models=(ModelEntry(id=LOCAL),)), load_price_map(), {})

    def route() -> object:
        return decide(
            FACTS, few, catalog, local_fallback=LOCAL, upgrades=("gpt-4o",), summarizer=LOCAL, timeouts=Timeouts()
        )

    rows = (
        ("200 rules, first match", median_us(lambda: typical_rules.first_match(FACTS))),
        ("200 rules, every verdict in words", median_us(lambda: typical_rules.first_match(FACTS, True))),
        ("200 rules, a regular expression each", median_us(lambda: hard_rules.first_match(FACTS))),
        ("8 rules, whole route", median_us(route)),
        ("200 rules, compile", median_us(lambda: rule_set(200, typical), rounds=5, per_round=1)),
    )
    for name, value in rows:
        print(f"{name:40} {value:10.1f} µs")


if __name__ == "__main__":
    main()
