"""Traces for an OpenTelemetry collector: one trace a request, one span an attempt. The extra `otel`.

Off, at no cost, unless OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) names where to. Spans are
made from what the ledger settles, once a request's last attempt has: names, numbers, codes, and never a text, a
workspace or a session. To a collector on another machine goes nothing of a private workspace. A trace's id is the
request's, where that is one.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from app.llm.egress import EgressPolicy, is_localhost, is_loopback, normal_host, parse_ip
from app.usage.metrics import OPERATION, PROVIDERS
from app.usage.records import AttemptEnd, AttemptStart, Status

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
MOST_OPEN: Final = 4096
"""Requests whose last attempt is waited for; of one that never ends nothing is told."""
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")

Attempt = tuple[AttemptStart, AttemptEnd]


@dataclass(slots=True)
class Tracing:
    """Give `observe` to `UsageLedger.observe`. `hidden`: whether nothing of this workspace may be told, or of this
    attempt, where it was made in private."""

    tracer: Tracer
    ids: RequestIds
    hidden: Callable[[str, bool], bool]
    close: Callable[[], None]
    """Sends what waits, for a few seconds at most."""
    _open: dict[str, list[Attempt]] = field(default_factory=dict)

    def observe(self, start: AttemptStart, end: AttemptEnd, last: bool) -> None:
        if self.hidden(start.workspace_profile_id, start.private):
            return
        attempts = self._open.setdefault(start.request_id, [])
        attempts.append((start, end))
        if last:
            self._tell(self._open.pop(start.request_id))
        elif len(self._open) > MOST_OPEN:
            del self._open[next(iter(self._open))]

    def _tell(self, attempts: list[Attempt]) -> None:
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

        first, (start, end) = attempts[0][0], attempts[-1]
        self.ids.request = start.request_id
        request = self.tracer.start_span(
            "request",
            start_time=_nanoseconds(first.created_at),
            attributes={"sidecar.request_id": start.request_id, "sidecar.rule": start.rule,
                        "sidecar.attempts": len(attempts)},
        )  # fmt: skip
        within = set_span_in_context(request)
        for one, its_end in attempts:
            span = self.tracer.start_span(
                f"{OPERATION} {one.model}",
                within,
                kind=SpanKind.CLIENT,
                start_time=_nanoseconds(one.created_at),
                attributes=attributes(one, its_end),
            )
            if its_end.status is not Status.OK:
                span.set_status(StatusCode.ERROR)
            span.end(_nanoseconds(its_end.settled_at))
        if end.status is not Status.OK:
            request.set_status(StatusCode.ERROR)
        request.end(_nanoseconds(end.settled_at))


def attributes(start: AttemptStart, end: AttemptEnd) -> dict[str, Any]:
    """By OpenTelemetry's conventions for generative AI where they have a word; what is not known is left out."""
    first = end.time_to_first_token_ms
    found = {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": PROVIDERS.get(start.provider, start.provider),
        "gen_ai.request.model": start.model,
        "gen_ai.usage.input_tokens": end.input_tokens,
        "gen_ai.usage.output_tokens": end.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": end.cached_input_tokens,
        "gen_ai.usage.cache_creation.input_tokens": end.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": end.reasoning_tokens,
        "gen_ai.response.time_to_first_chunk": None if first is None else first / 1000,
        "error.type": None if end.status is Status.OK else end.error_code or end.status.value,
        "sidecar.location": start.location,
        "sidecar.attempt": start.attempt,
        "sidecar.cost_usd": None if end.cost_micro_usd is None else end.cost_micro_usd / 1_000_000,
    }
    return {name: value for name, value in found.items() if value is not None}


class RequestIds:
    """Ids for spans: the trace has its request's (an `opentelemetry.sdk.trace.IdGenerator`)."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        self.request = ""
        self._random = RandomIdGenerator()

    def generate_trace_id(self) -> int:
        text = self.request
        return int(text if _TRACE_ID.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()[:32], 16) or 1

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def is_trace_id_random(self) -> bool:
        return False


def open_tracing(
    environ: Mapping[str, str],
    version: str,
    private: Callable[[str], bool],
    trusted_hosts: Callable[[], tuple[str, ...]],
) -> Tracing | None:
    """Tracing to the endpoint the environment names; None where it names none, or the extra is not installed.

    `private`: whether a workspace keeps to this machine and the `trusted_hosts`.
    """
    endpoint = next((environ[name] for name in ENDPOINTS if environ.get(name)), None)
    if endpoint is None or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        return _open(
            _batches(),
            version,
            lambda workspace, made: (made or private(workspace)) and not _near(endpoint, trusted_hosts()),
        )
    except ImportError:
        log.warning("%s is set, but the extra is not installed: pip install 'llm-sidecar[otel]'", ENDPOINTS[1])
        return None


def _open(processor: SpanProcessor, version: str, hidden: Callable[[str, bool], bool]) -> Tracing:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    ids = RequestIds()
    resource = Resource.create({"service.name": "llm-sidecar", "service.version": version})
    provider = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)  # type: ignore[arg-type]
    provider.add_span_processor(processor)
    return Tracing(provider.get_tracer("llm-sidecar", version), ids, hidden, provider.shutdown)


def _batches() -> SpanProcessor:
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    session = requests.Session()
    # To the endpoint that was named and nowhere else: by no proxy of the environment, and not where it redirects.
    session.trust_env = False
    session.max_redirects = 0
    return BatchSpanProcessor(OTLPSpanExporter(session=session, timeout=3))


def _near(endpoint: str, trusted_hosts: tuple[str, ...]) -> bool:
    """Whether the collector may be told of private workspaces: on this machine, or at a trusted address.

    A trusted name is not enough: what it resolves to when spans are sent is not in our hands.
    """
    host = normal_host(urlsplit(endpoint).hostname or "")
    trusted = parse_ip(host) is not None and EgressPolicy.local_only(trusted_hosts).trusts(host)
    return is_localhost(host) or is_loopback(host) or trusted


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
