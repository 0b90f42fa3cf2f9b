"""What a request may use."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.config.schema import ModelsFile
from app.routing.catalog import build_catalog
from app.routing.facts import RoutingFacts
from app.routing.locality import Location
from app.routing.policy import missing_capability, permitted
from app.routing.spec import Endpoint

FACTS = RoutingFacts("chat", "home", contains_code=False, block_cloud_apis=False, input_tokens=1)
SPEC = build_catalog(ModelsFile(models=()), {}, {}).resolve("ollama/x")


@pytest.mark.parametrize("location", list(Location))
def test_only_cloud_is_forbidden_and_only_to_what_must_stay(location: Location) -> None:
    spec = replace(SPEC, endpoint=Endpoint(None, location, "for this reason"))
    assert permitted(spec, local_only=False).allowed
    verdict = permitted(spec, local_only=True)
    assert verdict.allowed == (location is not Location.CLOUD)
    assert "for this reason" in verdict.reason


@pytest.mark.parametrize(
    ("facts", "lacks", "expected"),
    [
        (FACTS, {"tools", "images", "response_format"}, None),
        (replace(FACTS, has_tools=True), set(), None),
        (replace(FACTS, has_tools=True), {"images"}, None),
        (replace(FACTS, has_tools=True), {"tools"}, "the request needs tools, which ollama/x does not support"),
        (
            replace(FACTS, has_tools=True, has_images=True, has_response_format=True),
            {"images", "response_format"},
            "the request needs images and a response format, which ollama/x does not support",
        ),
    ],
)
def test_missing_capabilities(facts: RoutingFacts, lacks: set[str], expected: str | None) -> None:
    assert missing_capability(replace(SPEC, lacks=frozenset(lacks)), facts) == expected
