"""`GET /api/v1/models`: the catalog, each value with its source."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from app.api.deps import DirectRoute, api_of, json_response, v1_router
from app.api.json_text import Json
from app.api.results import ModelList
from app.config.redact import redact_patterns
from app.routing.catalog import ModelSpec
from app.routing.spec import Price, Sourced

router = v1_router("configuration", route_class=DirectRoute)


@router.get("/models", summary="Which models are there?", operation_id="models", responses={200: {"model": ModelList}})
async def models(request: Request) -> Any:
    """Configured models in the file's order. Model servers on this machine are asked again where that is due."""
    services = api_of(request).services
    await services.refresh_models()
    return json_response({"models": [model_data(spec) for spec in services.catalog.all()]})


def model_data(spec: ModelSpec) -> Json:
    return {
        "id": spec.id,
        "provider": spec.provider,
        "location": spec.location.value,
        "location_reason": spec.endpoint.reason,
        # One from the environment may hold a user's password or a key in its query; the configuration's cannot.
        "api_base": None if spec.endpoint.api_base is None else redact_patterns(spec.endpoint.api_base),
        "available": spec.available,
        "context_window": _sourced(spec.context_window, spec.context_window.value),
        "max_output_tokens": _sourced(spec.max_output_tokens, spec.max_output_tokens.value),
        "price": _sourced(spec.price, _price(spec.price.value)),
        "tokenizer": spec.tokenizer,
        "lacks": sorted(spec.lacks),
        "unusable": spec.unusable,
        "warnings": list(spec.warnings),
    }


def _sourced(field: Sourced[Any], value: object) -> Json:
    return {"value": value, "source": field.source.value}


def _price(price: Price | None) -> Json | None:
    """Dollars per million tokens. Decimal in the program, so that sums are exact; a JSON number to readers."""
    if price is None:
        return None
    optional = {"cached_input": price.cached_input, "cache_write": price.cache_write, "reasoning": price.reasoning}
    return {
        "input": float(price.input),
        "output": float(price.output),
        **{name: None if amount is None else float(amount) for name, amount in optional.items()},
    }
