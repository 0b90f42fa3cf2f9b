"""UsageService: what is asked of the ledger beside reports and records."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from app.config.loader import Config
from app.config.proposed import proposed_routing
from app.routing.catalog import ModelCatalog
from app.routing.locality import Location
from app.store.database import Database, StoreUnavailable
from app.usage import feedback, reconcile
from app.usage.feedback import Feedback, RequestDetail
from app.usage.insights import Period
from app.usage.overview import Overview, Reference, read_overview
from app.usage.queries import UsageQuery
from app.usage.reconcile import Verification
from app.usage.replay import Proposal, Replay, replay
from app.usage.retention import drop_old_rows


class UsageService:
    """`in_force`: the configuration and the catalog that requests are decided by now. `workspace` is the only one that
    is looked into; None: all."""

    def __init__(
        self, database: Database, in_force: Callable[[], tuple[Config, ModelCatalog]], now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._in_force = in_force
        self._now = now

    async def overview(self, period: Period, zone: ZoneInfo, workspace: str | None) -> Overview:
        now, reference = self._now(), self._reference()
        return await self._database.read(
            lambda connection: read_overview(connection, period, zone, workspace, now, reference)
        )

    async def request(self, request_id: str, workspace: str | None = None) -> RequestDetail:
        """Raises NotFound."""
        return await self._database.read(lambda connection: feedback.read_request(connection, request_id, workspace))

    async def knows(self, request_id: str) -> bool:
        """Whether the ledger has an attempt of such a request; False also where it cannot be read at the moment."""
        try:
            return await self._database.read(lambda connection: feedback.is_known(connection, request_id))
        except StoreUnavailable:
            return False

    async def judge(self, request_id: str, score: int, note: str | None, workspace: str | None = None) -> Feedback:
        """Keep a verdict (1 to 5); a later one replaces it. Raises NotFound."""
        now = self._now()
        return await self._database.write(
            lambda connection: feedback.write_feedback(connection, request_id, score, note, now, workspace)
        )

    async def verify(self, *, repair: bool = False) -> Verification:
        return await reconcile.verify(self._database, repair=repair)

    async def replay(self, query: UsageQuery, routing: bytes) -> Replay:
        """Logged requests under the text of another routing.yaml. Raises `ConfigError` where it is none."""
        config, catalog = self._in_force()
        proposal = Proposal.of(proposed_routing(routing, config), config, catalog)
        return await replay(self._database, query, proposal)

    async def drop_old_rows(self) -> int:
        """Drop what is older than the configured age; how many rows went. Once a day, off every request's path."""
        config, _ = self._in_force()
        keep_days = config.profiles.usage.keep_rows_days
        return 0 if keep_days is None else await drop_old_rows(self._database, keep_days, self._now())

    def _reference(self) -> Reference:
        """The model local ones are measured by: the configured one, else the first cloud model with a known price."""
        config, catalog = self._in_force()
        named = config.profiles.usage.reference_model
        for model in catalog.all():
            price = model.price.value
            if model.id == named or (named is None and model.location is Location.CLOUD and price is not None):
                return Reference(model.id, price)
        return Reference(named, None if named is None else catalog.resolve(named).price.value)
