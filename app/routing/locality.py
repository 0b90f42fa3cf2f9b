"""Where an endpoint really is, decided from its address and never from a model's name."""

from __future__ import annotations

from enum import StrEnum


class Location(StrEnum):
    """Nearest first. Only `cloud` is forbidden to a private workspace."""

    IN_PROCESS = "in_process"
    LOOPBACK = "loopback"
    TRUSTED = "trusted"
    CLOUD = "cloud"

    @property
    def is_local(self) -> bool:
        """True where a private workspace may go."""
        return self is not Location.CLOUD
