"""What the parts of the sidecar stand at, as numbers for `/metrics`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.services.parts import Services


@dataclass(frozen=True, slots=True)
class Gauge:
    """One value. `total`: it only grows while the process lives."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    total: bool = False


def gauges(services: Services, parts: Mapping[str, Mapping[str, Any]]) -> Iterator[Gauge]:
    """`parts`: those of `health(services)`."""
    ledger = services.ledger.health()
    yield Gauge("sidecar_ledger_waiting_rows", "Settled rows that are not on the disk yet.", ledger.waiting)
    yield Gauge("sidecar_ledger_lost_rows", "Rows given up since the start.", ledger.lost, total=True)
    yield Gauge(
        "sidecar_ledger_interrupted_rows", "Rows a crash had left open, found at the start.", ledger.interrupted
    )
    for name, part in parts.items():
        well = part["status"] in ("ok", "starting")
        yield Gauge("sidecar_part_up", "1: the part is well; 0: see /api/v1/health.", well, {"part": name})
    has_model = services.embedder.problem is None
    yield Gauge("sidecar_embedder_up", "1: searches go by meaning; 0: by words alone.", has_model)
    resting = services.router.breakers.states()
    for spec in services.catalog.all():
        text = "1: the model is resting after failures."
        yield Gauge("sidecar_model_resting", text, spec.id in resting, {"model": spec.id})
    yield from _slots(services)
    status = services.config.status
    yield Gauge("sidecar_config_valid", "1: the files are the configuration in force.", not status.last_error)
    loaded = status.loaded_at.timestamp()
    yield Gauge("sidecar_config_loaded_timestamp_seconds", "When that was read.", loaded)
    yield Gauge("sidecar_start_timestamp_seconds", "When the sidecar started.", services.started_at.timestamp())


def _slots(services: Services) -> Iterator[Gauge]:
    for server, load in services.router.slots.loads():
        counts = {
            ("person", "running"): load.people,
            ("agent", "running"): load.agents,
            ("person", "waiting"): load.people_waiting,
            ("agent", "waiting"): load.agents_waiting,
        }
        for (who, state), count in counts.items():
            labels = {"server": server, "who": who, "state": state}
            yield Gauge("sidecar_model_server_calls", "Calls at a model server with a limit.", count, labels)
