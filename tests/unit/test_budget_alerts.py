"""Whose inbox a budget's alert goes to, and that it keeps in the machine what comes of a private workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from app.agents.cron import check_schedules
from app.config.loader import Config, load
from app.usage.alerts import BudgetAlert
from app.usage.budgets import Budgets, Reservation
from app.usage.limits import Quote
from app.usage.spend import Scope
from tests.fakes.sidecar import write_config
from tests.unit.ledger_rows import NOW

BUDGET: dict[str, Any] = {"period": "day", "limit_usd": 1.0, "on_limit": "block", "alert_at": [0.5], "timezone": "UTC"}
OPEN, WORK = Scope("open", None, "chat"), Scope("work", "merger", "chat")


class Told:
    def __init__(self) -> None:
        self.alerts: list[BudgetAlert] = []

    def alert(self, alert: BudgetAlert) -> None:
        self.alerts.append(alert)


def configured(folder: Path, *, for_all: bool) -> Config:
    write_config(
        folder,
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
    )
    profiles: dict[str, Any] = {
        "default_workspace": "open",
        "profiles": [{"id": "open"}, {"id": "work", "block_cloud_apis": True}],
    }
    agent: dict[str, Any] = {"name": "merger", "agent": "digest", "workspace": "work"}
    if for_all:
        profiles["budgets"] = [BUDGET]
    else:
        agent["budget"] = BUDGET
    (folder / "profiles.yaml").write_text(yaml.safe_dump(profiles))
    (folder / "agents.yaml").write_text(yaml.safe_dump({"agents": [agent]}))
    return load(folder, [check_schedules])


def spend(budgets: Budgets, scope: Scope, cost: int) -> None:
    held = budgets.reserve(scope, Quote("ollama/m", True, cost, cost, 10))
    if isinstance(held, Reservation):
        budgets.settle(held, cost, 10)


def listening(config: Config) -> tuple[Budgets, Told]:
    budgets, told = Budgets(lambda: config, lambda: NOW), Told()
    budgets.tell(told)
    return budgets, told


@pytest.mark.parametrize("for_all", [False, True], ids=["an agent's", "for all"])
def test_what_a_private_workspace_spends_is_told_in_private(tmp_path: Path, for_all: bool) -> None:
    """The model is on this machine and has a price of its own: electricity, say."""
    budgets, told = listening(configured(tmp_path, for_all=for_all))
    spend(budgets, WORK, 600_000)
    spend(budgets, WORK, 600_000)
    assert [(alert.kind, alert.workspace, alert.private) for alert in told.alerts] == [
        ("budget_threshold", "open", True),
        ("budget_acted", "open", True),
    ]


def test_a_sum_is_private_where_part_of_it_is(tmp_path: Path) -> None:
    budgets, told = listening(configured(tmp_path, for_all=True))
    spend(budgets, WORK, 100_000)
    spend(budgets, OPEN, 500_000)
    assert [alert.private for alert in told.alerts] == [True]


def test_what_open_workspaces_spend_is_told_in_the_open(tmp_path: Path) -> None:
    budgets, told = listening(configured(tmp_path, for_all=True))
    spend(budgets, OPEN, 600_000)
    spend(budgets, OPEN, 600_000)
    assert [alert.private for alert in told.alerts] == [False, False]
