"""What budgets tell people, each once a period: a share of the limit was reached, a call was kept from being made.

What was told is in the database, so that a restart does not tell it again. Who hears it is an `AlertSink`: the inbox
lives further up the house and is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from app.store.tables import budget_alerts, from_text, to_bound, to_text
from app.usage.limits import dollars
from app.usage.spend import KEPT

if TYPE_CHECKING:
    from app.usage.budgets import Meter

Told: TypeAlias = tuple[str, str, str]
"""A budget's key, the start of its period, and the occasion: `0.8`, `acted`, `unpriced`."""
Severity: TypeAlias = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """One thing a person should know about a budget. Amounts only, no word of any request."""

    key: str
    """Unique to this budget, period and occasion."""
    kind: Literal["budget_threshold", "budget_acted", "budget_unpriced"]
    severity: Severity
    workspace: str
    title: str
    body: str
    about: dict[str, Any]
    """Which budget: `budget` (its key), `workspace`, `agent`, `task_type`, `period`, `period_start`."""
    private: bool = False
    """What it says comes of a private workspace, whosever inbox it goes to."""


class AlertSink(Protocol):
    def alert(self, alert: BudgetAlert) -> None:
        """Take an alert. Called on the event loop; must return at once and raise nothing."""


@dataclass(slots=True)
class Alerts:
    """Which alerts were raised, and who hears them. `note` stores one; it must not wait."""

    told: set[Told] = field(default_factory=set)
    note: Callable[[Told], None] = lambda told: None
    sinks: list[AlertSink] = field(default_factory=list)

    def look(self, meter: Meter, workspace: str | None, private: Callable[[], bool] = lambda: False) -> None:
        """Raise what is due. `workspace`: whose inbox; None: that of the budget. `private`: whether what is spent tells
        of a private workspace; asked where there is something to tell."""
        if not self.sinks:
            return
        for fraction in meter.limit.entry.alert_at:
            if meter.used and meter.fraction >= fraction:
                self._threshold(meter, fraction, workspace, private)
        if meter.unpriced_calls and meter.limit.entry.unknown_price is None:
            body = "Calls to models without a price are not counted in it; set their prices in models.yaml."
            title = "a call of unknown price"
            self._raise(meter, "unpriced", "budget_unpriced", "warning", title, body, workspace, private)

    def acted(
        self, meter: Meter, reason: str, workspace: str | None, private: Callable[[], bool] = lambda: False
    ) -> None:
        """The budget has kept a call from being made, or would have."""
        shadow, action = meter.limit.entry.shadow, _ACTIONS[meter.limit.entry.on_limit]
        title = f"would have {action}" if shadow else f"has {action}"
        severity: Severity = "info" if shadow else "critical"
        body = f"{reason[:1].upper()}{reason[1:]}."
        self._raise(meter, "acted", "budget_acted", severity, title, body, workspace, private)

    def _threshold(self, meter: Meter, fraction: float, workspace: str | None, private: Callable[[], bool]) -> None:
        period = "by one request" if meter.limit.per_request else f"this {meter.limit.entry.period}"
        body = f"{dollars(meter.used)} of {dollars(meter.limit.micro_usd)} were spent {period}."
        severity: Severity = "critical" if fraction >= 1 else "warning" if fraction >= 0.8 else "info"
        title = f"{fraction:.0%} are used"
        self._raise(meter, f"{fraction:g}", "budget_threshold", severity, title, body, workspace, private)

    def _raise(
        self,
        meter: Meter,
        occasion: str,
        kind: Literal["budget_threshold", "budget_acted", "budget_unpriced"],
        severity: Severity,
        title: str,
        body: str,
        workspace: str | None,
        private: Callable[[], bool],
    ) -> None:
        start = to_text(meter.span.start)
        told = (meter.limit.key, start, occasion)
        if not self.sinks or told in self.told:
            return
        self.told.add(told)
        self.note(told)
        about = {
            "budget": meter.limit.key,
            "workspace": meter.limit.workspace,
            "agent": meter.limit.agent,
            "task_type": meter.limit.task_type,
            "period": meter.limit.entry.period,
            "period_start": start,
        }
        name = str(meter.limit)
        whole = f"{name[:1].upper()}{name[1:]}: {title}"
        where = workspace or meter.limit.workspace or ""
        alert = BudgetAlert(":".join(("budget", *told)), kind, severity, where, whole, body, about, private())
        for sink in self.sinks:
            sink.alert(alert)


_ACTIONS = {
    "block": "refused a request",
    "cheaper": "left out a model that costs too much",
    "local_only": "left out cloud models",
    "alert": "",
}


def read_told(connection: Connection, now: datetime) -> set[Told]:
    """The alerts that may still matter: of periods that began within the last month and a bit."""
    table = budget_alerts.c
    statement = select(table.budget, table.period_start, table.occasion).where(
        table.period_start >= to_bound(now - KEPT)
    )
    return {(row.budget, row.period_start, row.occasion) for row in connection.execute(statement)}


def write_told(connection: Connection, told: Told, now: datetime) -> None:
    """Note an alert, and forget those of periods long over."""
    budget, start, occasion = told
    from_text(start)
    connection.execute(
        insert(budget_alerts)
        .values(budget=budget, period_start=start, occasion=occasion, created_at=to_text(now))
        .on_conflict_do_nothing()
    )
    connection.execute(budget_alerts.delete().where(budget_alerts.c.period_start < to_bound(now - 2 * KEPT)))
