"""What `/health` says: each part as ok, degraded or down, with the reason and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.config.redact import redact_patterns
from app.memory.recognising import REMEDY
from app.routing.locality import Location

if TYPE_CHECKING:
    from app.services.parts import Services


async def health(services: Services) -> dict[str, Any]:
    """Each part as ok, degraded or down, with the reason and the remedy."""
    parts = {
        "config": _config_health(services),
        "ledger": _ledger_health(services),
        "litellm": _litellm_health(services),
        "models": _models_health(services),
        "embedder": _embedder_health(services),
        "index": _index_health(services),
        "scheduler": services.agents.scheduler_health(services.clock.now()),
        "agents": services.agents.health(),
        "notifications": _notifications_health(services),
        "entities": _entities_health(services),
    }
    worst = max((part["status"] for part in parts.values()), key=["ok", "starting", "degraded", "down"].index)
    return {"status": worst, "parts": parts}


def _index_health(services: Services) -> dict[str, Any]:
    found, watching = services.memory.health(), services.indexing.health()
    return {**watching, **found} if found["status"] != "ok" else {**found, **watching}


def _config_health(services: Services) -> dict[str, Any]:
    status = services.config.status
    found: dict[str, Any] = {
        "status": "ok",
        "folder": str(services.config.path.resolve()),
        "fingerprint": status.fingerprint,
        "loaded_at": status.loaded_at.isoformat(),
        "warnings": list(status.warnings),
    }
    if status.last_error:
        problems = [str(problem) for problem in status.last_error]
        found |= {
            "status": "degraded",
            "reason": "the files as they are now cannot be used; the last good configuration is in force",
            "problems": problems,
            "remedy": "llm-sidecar config check",
        }
    return found


def _ledger_health(services: Services) -> dict[str, Any]:
    ledger, database = services.ledger.health(), services.database.health()
    found: dict[str, Any] = {
        "status": "ok",
        "waiting": ledger.waiting,
        "lost": ledger.lost,
        "interrupted": ledger.interrupted,
        "notices": list(database.notices),
    }
    if not database.ok:
        found |= {
            "status": "degraded",
            "reason": "SQLite found damage in the database",
            "remedy": "restart the sidecar: it checks the file, and sets it aside if it is damaged",
        }
    elif not ledger.ok:
        found |= {
            "status": "degraded",
            "reason": ledger.last_error or "the database cannot be written",
            "remedy": f"make room on the disk of {services.settings.data_dir}, or end what locks its sidecar.db",
        }
    elif database.set_aside is not None:
        found |= {
            "status": "degraded",
            "reason": database.set_aside,
            "remedy": "`llm-sidecar restore` brings back a backup of the data folder; the next start finds it well",
        }
    return found


def _litellm_health(services: Services) -> dict[str, Any]:
    if services.translator.problem is not None:
        return {"status": "down", "reason": services.translator.problem, "remedy": "reinstall llm-sidecar"}
    return {"status": "ok" if services.translator.ready else "starting"}


def _embedder_health(services: Services) -> dict[str, Any]:
    problem = services.embedder.problem
    if problem is None:
        return {"status": "ok", "search": "meaning and words"}
    # Searching by words alone is less, and no defect of the sidecar.
    remedy = "llm-sidecar models fetch"
    return {"status": "ok", "search": "words", "reason": problem, "remedy": remedy}


def _notifications_health(services: Services) -> dict[str, Any]:
    delivery = services.inbox.delivery
    if delivery.problem is None:
        return {"status": "ok", "waiting": delivery.waiting}
    return {
        "status": "degraded",
        "waiting": delivery.waiting,
        "reason": f"the webhook did not take the last notification: {delivery.problem}; it is in the inbox",
        "remedy": "look at notifications.webhook in profiles.yaml, and at the service it names",
    }


def _entities_health(services: Services) -> dict[str, Any]:
    recogniser = services.extraction.recogniser
    found: dict[str, Any] = {"status": "ok", "recogniser": recogniser.model}
    if (problem := recogniser.problem) is not None:
        # An extra: without it names are found by local models, or by their patterns.
        found |= {"recogniser": None, "reason": problem, "remedy": REMEDY}
    return found


def _models_health(services: Services) -> dict[str, Any]:
    servers = {
        report.api_base: {"status": "ok", "models": len(report.models)}
        if report.reachable
        else {"status": "down", "reason": report.problem, "remedy": "start it, or change models.yaml"}
        for report in services.discovery.reports
    }
    resting = services.router.breakers.states()
    # The built-in model always answers: a server that is away is no defect of the sidecar.
    return {"status": "ok", "servers": {**_clouds(services, resting), **servers}, "resting": resting}


def _clouds(services: Services, resting: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The endpoints outside this machine, by address (by provider where that is litellm's business). None is asked
    for this: what is known of them is how the last requests went."""
    found: dict[str, dict[str, Any]] = {}
    for model in services.catalog.all():
        if model.location is not Location.CLOUD:
            continue
        base = model.endpoint.api_base
        server = found.setdefault(model.provider if base is None else redact_patterns(base), {"status": "ok"})
        if (why := resting.get(model.id)) is not None:
            remedy = "it is asked again after its rest; `llm-sidecar doctor` says what it lacks"
            server |= {"status": "degraded", "reason": why, "remedy": remedy}
    return found
