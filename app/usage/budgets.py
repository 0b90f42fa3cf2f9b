"""Budgets: reserve before a call, settle or release after it, alert when it is time.

    reserve ──> Reservation ── settle(cost) ──> used += cost, reserved -= held ── alerts
       │             └──────── release ───────> reserved -= held
       └──> Refusal: the strictest budget that objects, and why

What is used is kept in memory in integer micro-dollars, made from the ledger at the start and again from
`SpendHistory` when a period ends or the configuration changes; so it survives a restart, a crash and a reload.
Reserving is one step of the event loop, in which nothing else can happen: however many requests come at once, none sees
money that another has taken. Every attempt is counted into the period in which it began, as in the ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from app.config.loader import Config
from app.store.database import Database, StoreUnavailable
from app.usage.alerts import Alerts, AlertSink, Told, read_told, write_told
from app.usage.limits import Limit, Quote, Refusal, Spent, Standing, limits_of, objection, strictest
from app.usage.periods import Span, span_of
from app.usage.spend import KEPT, Amount, Scope, SpendHistory, read_history

log = logging.getLogger(__name__)

NOTHING = Spent()


@dataclass(slots=True, eq=False)
class Meter:
    """One limit, and where it stands in the period `span`."""

    limit: Limit
    span: Span
    used: int = 0
    reserved: int = 0
    running: int = 0
    """Calls that hold some of it."""
    unpriced_calls: int = 0
    """Calls of this period whose price is not known."""

    @property
    def standing(self) -> Standing:
        return Standing(self.used, self.reserved)

    @property
    def fraction(self) -> float:
        """Used share of the limit; a limit of nothing is used up."""
        return self.used / self.limit.micro_usd if self.limit.micro_usd else 1.0


@dataclass(slots=True, eq=False)
class Reservation:
    """What one call holds, until `settle` or `release`. Made by `Budgets.reserve`."""

    scope: Scope
    quote: Quote
    at: datetime
    spent: Spent
    """What its request had spent before."""
    capped: bool = False
    """True: the call must not write more than was quoted, or the budget would not hold."""
    notes: tuple[str, ...] = ()
    """What shadow budgets would have done."""
    amount: Amount = field(default_factory=Amount)
    """What it came to, once it is settled."""
    is_open: bool = True
    begun: bool = False
    """The call has been made; until then a new period holds what it may cost."""
    held: dict[Meter, int] = field(default_factory=dict)


class Budgets:
    """One per process. Every method is called on the event loop, and none waits.

    `in_force` gives the configuration; a new one is taken up by the next call. `sink` hears the alerts.
    """

    def __init__(
        self,
        in_force: Callable[[], Config],
        now: Callable[[], datetime],
        history: SpendHistory | None = None,
        alerts: Alerts | None = None,
    ) -> None:
        self._in_force = in_force
        self.now = now
        self._history = history or SpendHistory()
        self._alerts = alerts or Alerts()
        self._open: set[Reservation] = set()
        self._config: Config | None = None
        self._meters: tuple[Meter, ...] = ()
        self._covering: dict[Scope, tuple[Meter, ...]] = {}

    @classmethod
    async def open(cls, database: Database, in_force: Callable[[], Config], now: Callable[[], datetime]) -> Budgets:
        """Budgets as the ledger says that they stand, after what a crash cut off was marked as interrupted.

        A ledger that cannot be read at this moment is no reason not to start: then budgets begin at nothing, and the
        log says so.
        """
        moment = now()

        def note(told: Told) -> None:
            try:
                database.write_soon(lambda connection: write_told(connection, told, now()), durable=False)
            except StoreUnavailable as error:
                log.warning("an alert could not be noted and may be raised again: %s", error.detail)

        try:
            history = await database.read(lambda connection: read_history(connection, moment))
            told = await database.read(lambda connection: read_told(connection, moment))
        except StoreUnavailable as error:
            log.error("what budgets have used so far is not known: %s", error.detail)
            history, told = SpendHistory(), set()
        return cls(in_force, now, history, Alerts(told, note))

    def tell(self, sink: AlertSink) -> None:
        """Have `sink` hear the alerts from now on, beside those who hear them already; what is due is raised now."""
        self._alerts.sinks.append(sink)
        for meter in self.meters():
            self._look(meter)

    def meters(self) -> tuple[Meter, ...]:
        """Every budget as it stands now, in the order of the configuration. To read."""
        now = self.now()
        self._refresh(now)
        return self._meters

    def covering(self, scope: Scope) -> tuple[Meter, ...]:
        """Those that cover `scope`, as they stand now."""
        now = self.now()
        self._refresh(now)
        if (found := self._covering.get(scope)) is None:
            found = tuple(meter for meter in self._meters if meter.limit.covers(scope))
            if len(self._covering) > 1_000:
                self._covering.clear()
            self._covering[scope] = found
        return found

    def used_fraction(self, scope: Scope) -> float:
        """The largest used share of the budgets that cover `scope`: `budget_used` in conditions.

        Budgets per request and shadow budgets are left out: the one begins at nothing, the other must change nothing.
        """
        real = (m for m in self.covering(scope) if not m.limit.per_request and not m.limit.entry.shadow)
        return max((meter.fraction for meter in real), default=0.0)

    def judge(self, scope: Scope, quote: Quote, spent: Spent = NOTHING) -> Refusal | None:
        """What `reserve` would refuse now; holds nothing and alerts nobody."""
        refusals, _ = self._refusals(scope, quote, spent)
        return strictest([refusal for refusal, _ in refusals])

    def reserve(self, scope: Scope, quote: Quote, spent: Spent = NOTHING) -> Reservation | Refusal:
        """Hold what the call may cost under every budget that covers it, or say why it may not be made.

        `spent`: what the same request has spent so far.
        """
        refusals, shadows = self._refusals(scope, quote, spent)
        for refusal, meter in (*refusals, *shadows):
            self._alerts.acted(meter, refusal.reason, self._workspace(meter), self._private(meter, scope))
        if (refused := strictest([refusal for refusal, _ in refusals])) is not None:
            return refused
        covering = self.covering(scope)
        capped = not quote.is_free and any(meter.limit.is_enforced for meter in covering)
        notes = tuple(f"shadow: {refusal.on_limit}: {refusal.reason}" for refusal, _ in shadows)
        reservation = Reservation(scope, quote, self.now(), spent, capped, notes)
        self._hold(reservation, covering)
        self._open.add(reservation)
        return reservation

    def change(self, reservation: Reservation, quote: Quote, spent: Spent = NOTHING) -> Refusal | None:
        """Hold for another window of the same call; where a budget refuses that, what is held stays as it is."""
        covering = self.covering(reservation.scope)  # before it is lifted: what begins anew holds all that is open
        self._lift(reservation)
        refusals, _ = self._refusals(reservation.scope, quote, spent)
        refused = strictest([refusal for refusal, _ in refusals])
        if refused is None:
            reservation.quote, reservation.spent = quote, spent
        self._hold(reservation, tuple(meter for meter in covering if meter not in reservation.held))
        return refused

    def begin(self, reservation: Reservation) -> datetime:
        """The call is made now: this is when its row begins, and the period that it counts into."""
        covering = self.covering(reservation.scope)
        reservation.begun, reservation.at = True, self.now()
        self._hold(reservation, tuple(meter for meter in covering if meter not in reservation.held))
        return reservation.at

    def settle(self, reservation: Reservation, cost: int | None, tokens: int) -> None:
        """The call has ended and cost this; None: its price is not known, and it used `tokens`.

        Settling what is settled or released changes nothing.
        """
        if not self._close(reservation):
            return
        reservation.amount = amount = Amount(0, tokens, 1) if cost is None else Amount(cost)
        if cost == 0:
            return
        now = self.now()
        self._refresh(now)
        self._history.add(reservation.scope, reservation.at, amount)
        for meter in self.covering(reservation.scope):
            if meter.limit.per_request:
                before = meter.limit.standing_of(reservation.scope, reservation.spent).used
                spent = before + meter.limit.used_of(amount)
                self._look(replace(meter, used=spent), reservation.scope)
                continue
            if meter.span.holds(reservation.at):
                meter.used += meter.limit.used_of(amount)
                meter.unpriced_calls += amount.unpriced_calls
            self._look(meter, reservation.scope)

    def release(self, reservation: Reservation) -> None:
        """The call was never made. Releasing what is settled or released changes nothing."""
        self._close(reservation)

    def history(self, meter: Meter, until: datetime) -> list[tuple[datetime, int]]:
        """(when, micro-dollars) of what was spent under a budget in its period, by the quarter of an hour, in order."""
        found: dict[datetime, int] = {}
        for scope, at, amount in self._history.each(meter.span.start, until):
            if meter.limit.covers(scope):
                found[at] = found.get(at, 0) + meter.limit.used_of(amount)
        return sorted(found.items())

    def _refusals(
        self, scope: Scope, quote: Quote, spent: Spent
    ) -> tuple[list[tuple[Refusal, Meter]], list[tuple[Refusal, Meter]]]:
        """What the budgets object, and what shadow budgets would."""
        real: list[tuple[Refusal, Meter]] = []
        shadows: list[tuple[Refusal, Meter]] = []
        for meter in self.covering(scope):
            limit, standing = meter.limit, meter.standing
            if limit.per_request:
                standing = limit.standing_of(scope, spent)
            if reason := objection(limit, standing, quote):
                (shadows if limit.entry.shadow else real).append((Refusal(limit, reason), meter))
        return real, shadows

    def _hold(self, reservation: Reservation, meters: tuple[Meter, ...]) -> None:
        for meter in meters:
            held = 0 if meter.limit.per_request else meter.limit.held_for(reservation.quote)
            if held and meter.span.holds(reservation.at):
                reservation.held[meter] = held
                meter.reserved += held
                meter.running += 1

    def _close(self, reservation: Reservation) -> bool:
        """Give back what it holds; False where that was done."""
        if not reservation.is_open:
            return False
        reservation.is_open = False
        self._open.discard(reservation)
        self._lift(reservation)
        return True

    @staticmethod
    def _lift(reservation: Reservation) -> None:
        for meter, held in reservation.held.items():
            meter.reserved -= held
            meter.running -= 1
        reservation.held.clear()

    def _refresh(self, now: datetime) -> None:
        config = self._in_force()
        if config is not self._config:
            self._configure(config, now)
            return
        for meter in self._meters:
            if not meter.span.holds(now):
                self._begin(meter, now)

    def _configure(self, config: Config, now: datetime) -> None:
        """Other budgets, each with what was spent under it so far, and with the calls that are running."""
        self._config = config
        self._covering.clear()
        for reservation in self._open:
            reservation.held.clear()
        self._meters = tuple(Meter(limit, _span(limit, now)) for limit in limits_of(config))
        for meter in self._meters:
            self._begin(meter, now)

    def _begin(self, meter: Meter, now: datetime) -> None:
        """The period that `now` lies in, with what was spent in it already (after a reload, or a clock set back)."""
        meter.span = _span(meter.limit, now)
        meter.used = meter.reserved = meter.running = meter.unpriced_calls = 0
        self._history.forget(now - KEPT)
        if meter.limit.per_request:
            return
        for scope, _, amount in self._history.each(meter.span.start, meter.span.end):
            if meter.limit.covers(scope):
                meter.used += meter.limit.used_of(amount)
                meter.unpriced_calls += amount.unpriced_calls
        for reservation in self._open:
            reservation.held.pop(meter, None)
            if not reservation.begun:
                # It waits, for a retry say, and will be made in this period: nobody else may take its room meanwhile.
                reservation.at = now
            if meter.limit.covers(reservation.scope):
                self._hold(reservation, (meter,))

    def _look(self, meter: Meter, scope: Scope | None = None) -> None:
        """Raise what is due. `scope`: of the call that has just ended."""
        self._alerts.look(meter, self._workspace(meter), self._private(meter, scope))

    def _private(self, meter: Meter, scope: Scope | None) -> Callable[[], bool]:
        """Whether what an alert says comes of a private workspace: of its call, or of what was spent before. A budget
        for several workspaces, an agent's for one, goes to the inbox of an open one, and from there to a webhook."""

        def found() -> bool:
            config, limit = self._in_force(), meter.limit
            if scope is not None and config.is_private(scope.workspace):
                return True
            spent = () if limit.per_request else self._history.each(meter.span.start, meter.span.end)
            return any(limit.covers(by) and config.is_private(by.workspace) for by, _, _ in spent)

        return found

    def _workspace(self, meter: Meter) -> str:
        """Whose inbox an alert goes to: the budget's own workspace, else the one that requests use by default."""
        return meter.limit.workspace or self._in_force().default_profile.id


def _span(limit: Limit, now: datetime) -> Span:
    # A limit per request has no period; its alerts come once a day.
    return span_of("day" if limit.per_request else limit.entry.period, now, limit.zone)
