"""Metrics of the attempts that ended, for Prometheus: counted as they settle, never read back from the ledger.

Names and buckets are those of OpenTelemetry's GenAI conventions where there are any, dots as underscores and the unit
behind (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/); the rest begins with `sidecar_`. Labels are
what the configuration names, the sidecar's own codes and the ledger's few words: never an id, a task type (anybody may
make one up) or a text.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from app.usage.records import AttemptEnd, AttemptStart, Status

MOST_MODELS: Final = 200
"""Series per metric. A request may wish for models that no file names; those past this many share one name."""
OTHER: Final = "other"
OPERATION: Final = "chat"

SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
FIRST_TOKEN_SECONDS: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
PROVIDERS: Final = {"gemini": "gcp.gemini", "vertex_ai": "gcp.vertex_ai", "bedrock": "aws.bedrock", "xai": "x_ai",
                    "azure": "azure.ai.openai", "mistral": "mistral_ai"}  # fmt: skip
"""The conventions' names where they differ from the configuration's."""
MODEL: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


class UsageMetrics:
    """Give `observe` to `UsageLedger.observe`; read `registry`. Costs some ten microseconds an attempt."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._models: set[str] = set()
        self._duration = self._histogram(
            "gen_ai_client_operation_duration_seconds",
            "How long calls to a model took, waiting for a place at its server included.",
            (*MODEL, "error_type"),
            SECONDS,
        )
        self._first_token = self._histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "Until the first piece of an answer.",
            MODEL,
            FIRST_TOKEN_SECONDS,
        )
        self._usage = self._histogram(
            "gen_ai_client_token_usage", "Tokens of each call.", (*MODEL, "gen_ai_token_type"), TOKENS
        )
        self._requests = self._counter(
            "sidecar_requests", "Requests that asked a model, by how they ended.", ("workspace", "rule", "outcome")
        )
        self._attempts = self._counter(
            "sidecar_attempts", "Calls to a model, by how they ended.", ("model", "location", "outcome")
        )
        self._tokens = self._counter(
            "sidecar_tokens", "Tokens; cached and reasoning ones are also in input and output.", ("model", "type")
        )
        self._cost = self._counter("sidecar_cost_usd", "US dollars, as far as known.", ("model", "workspace", "source"))
        self._unknown = self._counter("sidecar_cost_unknown_attempts", "Calls of unknown price.", ("model",))

    def observe(self, start: AttemptStart, end: AttemptEnd, last: bool) -> None:
        model = self._name(start.model)
        named = (OPERATION, PROVIDERS.get(start.provider, start.provider) if model != OTHER else OTHER, model)
        if last:
            self._requests.labels(start.workspace_profile_id, start.rule, end.status.value).inc()
        self._attempts.labels(model, start.location, end.status.value).inc()
        # The conventions leave the type out where there is no error, which in Prometheus is an empty label.
        failed = "" if end.status is Status.OK else end.error_code or end.status.value
        self._duration.labels(*named, failed).observe(end.latency_ms / 1000)
        if end.time_to_first_token_ms is not None:
            self._first_token.labels(*named).observe(end.time_to_first_token_ms / 1000)
        self._count_tokens(model, named, end)
        if end.cost_micro_usd is None:
            self._unknown.labels(model).inc()
        else:
            amount = end.cost_micro_usd / 1_000_000
            self._cost.labels(model, start.workspace_profile_id, end.cost_source.value).inc(amount)

    def _count_tokens(self, model: str, named: tuple[str, ...], end: AttemptEnd) -> None:
        counts = {
            "input": end.input_tokens,
            "output": end.output_tokens,
            "cached_input": end.cached_input_tokens,
            "cache_write": end.cache_write_tokens,
            "reasoning": end.reasoning_tokens,
        }
        for kind, tokens in counts.items():
            if tokens:
                self._tokens.labels(model, kind).inc(tokens)
        for kind in ("input", "output"):
            if (tokens := counts[kind]) is not None:
                self._usage.labels(*named, kind).observe(tokens)

    def _name(self, model: str) -> str:
        if model not in self._models:
            if len(self._models) >= MOST_MODELS:
                return OTHER
            self._models.add(model)
        return model

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)
