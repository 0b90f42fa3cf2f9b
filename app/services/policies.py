"""PolicyHolder: the policy in force, made from the configuration and from what the model servers say."""

from __future__ import annotations

import os

from app.config.loader import Config
from app.config.pricemap import known_providers, load_price_map
from app.llm.discovery import ServerReport, discovered, hosts_file_addresses
from app.llm.plan import Policy
from app.routing.catalog import DEFAULT_WINDOW, ModelCatalog, build_catalog
from app.routing.rules import RuleSet
from app.routing.spec import Discovered


class PolicyHolder:
    """The current `Policy`, made anew whenever the configuration or what the model servers say has changed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._discovered = Discovered()
        self.current = self._build()

    def configured(self, config: Config) -> None:
        self._config = config
        self.current = self._build()

    def discovered(self, reports: tuple[ServerReport, ...]) -> None:
        found = discovered(reports)
        if found != self._discovered:
            self._discovered = found
            self.current = self._build()

    @property
    def smallest_window(self) -> int:
        """In tokens, of the configured models."""
        return min((model.context_window.value for model in self.current.catalog.all()), default=DEFAULT_WINDOW)

    def _build(self) -> Policy:
        catalog = self._catalog({})
        if names := hosts_file_addresses(catalog.hosts()):
            catalog = self._catalog(dict(names))
        return Policy(self._config, RuleSet(self._config.routing.rules), catalog)

    def _catalog(self, addresses: dict[str, tuple[str, ...]]) -> ModelCatalog:
        return build_catalog(
            self._config.models,
            load_price_map(),
            os.environ,
            self._discovered,
            addresses,
            providers=known_providers(),
        )
