"""`GET /metrics` for Prometheus: what settled, counted in `usage`, and what the parts stand at just now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.api.deps import Api, DirectRoute, api_of
from app.services.gauges import Gauge

router = APIRouter(route_class=DirectRoute, tags=["metrics"])

_PROCESS = CollectorRegistry()
ProcessCollector(registry=_PROCESS)
GCCollector(registry=_PROCESS)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    operation_id="metrics",
    responses={
        200: {
            "description": "Prometheus' text format, or OpenMetrics where it is asked for.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
async def metrics(request: Request) -> Any:
    """Needs the token like everything else: `authorization: {credentials_file: …}` in the scrape configuration."""
    api = api_of(request)
    found = await api.services.gauges()
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    content = encode(
        Everything([*api.services.metrics.registry.collect(), *_families(api, found), *_PROCESS.collect()])
    )
    return Response(content, headers={"cache-control": "no-store"}, media_type=media_type)


class Everything(CollectorRegistry):
    """Families that were collected already, as the encoders want them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        super().__init__()
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _families(api: Api, found: Iterable[Gauge]) -> Iterator[Metric]:
    yield InfoMetricFamily("sidecar", "Which sidecar this is.", {"version": __version__})
    own = [
        Gauge("sidecar_open_streams", "Answers under way.", len(api.streams)),
        Gauge("sidecar_open_pages", "Pages that watch what happens.", len(api.pages)),
        *(
            Gauge("sidecar_http_responses", "Answers by status.", count, {"code": str(code)}, total=True)
            for code, count in sorted(api.statuses.items())
        ),
    ]
    gauges = sorted([*own, *found], key=attrgetter("name"))
    for name, group in groupby(gauges, key=attrgetter("name")):
        values = list(group)
        kind = CounterMetricFamily if values[0].total else GaugeMetricFamily
        family = kind(name, values[0].help, labels=list(values[0].labels))
        for gauge in values:
            family.add_metric(list(gauge.labels.values()), float(gauge.value))
        yield family
