"""What a request may use: where it may go, and whether the model can do what it asks."""

from __future__ import annotations

from dataclasses import dataclass

from app.routing.facts import RoutingFacts
from app.routing.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a model may be used, and one sentence that says why."""

    allowed: bool
    reason: str


def permitted(spec: ModelSpec, local_only: bool) -> Verdict:
    """Whether a request that may (`local_only`: may not) leave the machine may use the model.

    Decided by the location of the model's endpoint alone; `is_local` is true for every location but cloud.
    """
    if not local_only:
        return Verdict(True, "the workspace allows cloud models")
    endpoint = spec.endpoint
    if endpoint.location.is_local:
        return Verdict(True, f"{endpoint.location.value}: {endpoint.reason}")
    return Verdict(False, f"the request may not leave this machine, and {spec.id} is a cloud model: {endpoint.reason}")


_WORDS = {"tools": "tools", "images": "images", "response_format": "a response format"}


def missing_capability(spec: ModelSpec, facts: RoutingFacts) -> str | None:
    """Why the model cannot do what the request needs, in one sentence; None where it can, or nothing is known."""
    if not spec.lacks:
        return None
    needs = (("tools", facts.has_tools), ("images", facts.has_images), ("response_format", facts.has_response_format))
    missing = [_WORDS[name] for name, needed in needs if needed and name in spec.lacks]
    if not missing:
        return None
    return f"the request needs {' and '.join(missing)}, which {spec.id} does not support"
