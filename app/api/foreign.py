"""What the APIs of other people's clients have in common: model names, headers, metadata, and who asks.

A client says `auto` (or a rule's name) for "decide by rules", or a model for a wish under the policy. The workspace and
the task type come from `X-Workspace` and `X-Task-Type`, else from the request's metadata, else from the client's key,
else from the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from app.api.callers import caller_of
from app.api.deps import api_of
from app.api.schemas import ID_REGEX
from app.config.loader import Config
from app.errors import InvalidRequest

AUTO: Final = "auto"
"""The model name that means: decide by rules."""
WORKSPACE_HEADER: Final = "x-workspace"
TASK_TYPE_HEADER: Final = "x-task-type"
SESSION_HEADER: Final = "x-session-id"
"""Of an editor's window, say: tells two of one client apart."""
_TASK_TYPE: Final = re.compile(r"[a-z0-9_-]{1,64}")

ModelName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        pattern=r"^[^\s\x00-\x1f\x7f-\x9f]+$",
        description="`auto` or a rule's name: decide by rules. Or a model: a wish, under the workspace's policy.",
        examples=[AUTO],
    ),
]
OutputLimit = Annotated[int, Field(ge=1, le=1_000_000)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
StopText = Annotated[str, Field(min_length=1, max_length=512)]
Metadata = Annotated[dict[str, Any], Field(max_length=64)]


class Foreign(BaseModel):
    """Base of other people's bodies: unknown members are refused, as their own servers do, so that nobody can slip in
    an address or a key."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class Echoed(BaseModel):
    """Base of what clients send back as they received it: members a server added are passed over."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a request goes. At most one of `model` and `rule` is given."""

    workspace: str | None
    task_type: str
    model: str | None = None
    rule: str | None = None


def aim_of(request: Request, model: str, metadata: Mapping[str, Any], task_type: str = "chat") -> Aim:
    """Where the request goes; `task_type` where nobody says one.

    Raises `InvalidRequest` for a header or metadata of the wrong shape, `Forbidden` where the caller's key is bound to
    another workspace.
    """
    caller = caller_of(request)
    asked = _first(request, WORKSPACE_HEADER, metadata, "workspace", ID_REGEX)
    task = _first(request, TASK_TYPE_HEADER, metadata, "task_type", _TASK_TYPE.pattern)
    wish, rule = named(model, api_of(request).services.config.current)
    return Aim(caller.workspace_for(asked), task or caller.task_type or task_type, wish, rule)


def lane_of(request: Request) -> str:
    """What a client's inline completions supersede each other in."""
    caller = caller_of(request)
    return f"{caller.key_id or caller.name}/{request.headers.get(SESSION_HEADER, '')[:128]}"


def named(model: str, config: Config) -> tuple[str | None, str | None]:
    """(model, rule) that a model name stands for; both None: decide by rules."""
    if model == AUTO:
        return None, None
    if any(entry.id == model for entry in config.models.models):
        return model, None
    if any(rule.name == model for rule in config.routing.rules):
        return None, model
    return model, None


def offered_names(config: Config) -> Iterator[str]:
    """Every name a client may say for a model: `auto`, the models, then the rules."""
    names = (AUTO, *(m.id for m in config.models.models), *(r.name for r in config.routing.rules))
    return iter(dict.fromkeys(names))


def _first(request: Request, header: str, metadata: Mapping[str, Any], member: str, pattern: str) -> str | None:
    """The header's value, else the metadata's."""
    sent = request.headers.get(header)
    value, said = (sent, header) if sent is not None else (metadata.get(member), f"metadata.{member}")
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(pattern.strip("^$"), value):
        raise InvalidRequest(f"{said} must match {pattern.strip('^$')}", field=said)
    return value
