"""`GET /api/v1/profiles` and `GET /api/v1/rules`: the configuration in force."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from app.api.config_schemas import ProfileList, RuleList
from app.api.deps import DirectRoute, api_of, json_response, v1_router
from app.api.json_text import Json
from app.config.schema import Budget, Profile, Rule

router = v1_router("configuration", route_class=DirectRoute)


@router.get("/profiles", summary="Which workspaces?", operation_id="profiles", responses={200: {"model": ProfileList}})
async def profiles(request: Request) -> Any:
    """The workspace profiles. Their system prompts stay in the file: `has_system_prompt` says that there is one."""
    file = api_of(request).services.config.current.profiles
    return json_response(
        {
            "default_workspace": file.default_workspace,
            "profiles": [profile_data(p, p.id == file.default_workspace) for p in file.profiles],
            "budgets": [budget_data(b) for b in file.budgets],
        }
    )


@router.get("/rules", summary="Which rules?", operation_id="rules", responses={200: {"model": RuleList}})
async def rules(request: Request) -> Any:
    """In the order they are tried; the first match wins."""
    routing = api_of(request).services.config.current.routing
    return json_response(
        {"rules": [rule_data(rule) for rule in routing.rules], "local_fallback": routing.local_fallback}
    )


def profile_data(profile: Profile, default: bool) -> Json:
    return {
        "id": profile.id,
        "name": profile.name,
        "block_cloud_apis": profile.block_cloud_apis,
        "default": default,
        "timezone": profile.timezone,
        "local_fallback": profile.local_fallback,
        "has_system_prompt": bool(profile.system_prompt),
        "budgets": [budget_data(b) for b in profile.budgets],
    }


def budget_data(budget: Budget) -> Json:
    return budget.model_dump(mode="json")


def rule_data(rule: Rule) -> Json:
    return {
        "name": rule.name,
        "conditions": rule.conditions,
        "model": rule.model,
        "fallback": list(rule.fallback),
        "params": rule.params,
        "timeouts": rule.timeouts.model_dump(exclude_none=True),
        "max_output_tokens": rule.max_output_tokens,
    }
