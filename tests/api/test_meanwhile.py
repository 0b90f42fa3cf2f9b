"""What changes while a request is between two of its steps: its workspace becomes private, its client leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app.context.builder import ContextBuilder
from tests.fakes.laboratory import eventually
from tests.fakes.providers import FakeProvider, Reply, Status
from tests.fakes.sidecar import RunningSidecar, running_sidecar


async def make_private(sidecar: RunningSidecar, workspace: str) -> None:
    path = sidecar.config_dir / "profiles.yaml"
    saved = yaml.safe_load(path.read_text())
    for profile in saved["profiles"]:
        profile["block_cloud_apis"] = profile.get("block_cloud_apis", False) or profile["id"] == workspace
    path.write_text(yaml.safe_dump(saved))
    await eventually(lambda: sidecar.services.policies.current.config.is_private(workspace), within=10)


async def test_a_prompt_that_waits_for_its_turn_while_its_workspace_becomes_private_is_not_passed_on(
    tmp_path: Path,
) -> None:
    """The server is on this machine, and runs a model under this name on somebody else's, which it is asked of a
    private prompt alone."""
    async with FakeProvider(models={"busy": 8192, "copy": 8192}) as server:
        local = {"api_base": server.url, "context_window": 8192}
        async with running_sidecar(
            tmp_path,
            models=[{"id": "ollama/busy", **local}, {"id": "ollama/copy", **local}],
            rules=[{"name": "all", "conditions": {}, "model": "ollama/copy"}],
            models_extra={"providers": {"ollama": {"api_base": server.url, "concurrency": 1}}},
        ) as sidecar:
            server.passed_on["copy"] = "https://ollama.com:443"
            server.script(Reply(text=("a", "b", "c"), delay=0.4))
            first = asyncio.create_task(sidecar.chat(query="hi", model="ollama/busy", workspace="open"))
            await eventually(lambda: len(server.chats) == 1)
            waiting = asyncio.create_task(sidecar.chat(query="a secret", workspace="open"))
            await eventually(lambda: any(load.people_waiting for _, load in sidecar.services.router.slots.loads()))
            await make_private(sidecar, "open")
            assert (await first)[-1].name == "done"
            events = await waiting
            assert (events[-1].name, events[-1].data["last_code"]) == ("error", "egress_blocked")
            assert [chat.model for chat in server.chats] == ["busy"]


async def test_who_leaves_while_the_next_model_is_fitted_has_not_paid_for_the_one_that_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was billed for a call that was refused: the budgets know it, and the ledger must say the same."""
    fit, fitting = ContextBuilder.fit, asyncio.Event()

    async def slow(self: ContextBuilder, prepared: Any, **options: Any) -> Any:
        if options["model_id"] == "ollama/second":  # as a long text is counted for another tokenizer
            fitting.set()
            await asyncio.sleep(30)
        return await fit(self, prepared, **options)

    monkeypatch.setattr(ContextBuilder, "fit", slow)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-key-0123456789abcdef")
    async with FakeProvider(models={"second": 8192}) as server, running_sidecar(
        tmp_path,
        models=[
            {"id": "openai/first", "api_base": f"{server.url}/v1", "location": "cloud", "context_window": 8192,
             "input_cost_per_million": 1_000, "output_cost_per_million": 1_000},
            {"id": "ollama/second", "api_base": server.url, "context_window": 8192},
        ],
        rules=[{"name": "all", "conditions": {}, "model": "openai/first", "fallback": "ollama/second"}],
        routing_extra={"retry": {"backoff_seconds": []}},
        profiles_extra={"budgets": [{"period": "day", "limit_usd": 100, "on_limit": "block", "timezone": "UTC"}]},
    ) as sidecar:  # fmt: skip
        server.always(Status(429))
        with pytest.raises(httpx.ReadTimeout):
            async with sidecar.http.stream("POST", "/api/v1/chat", json={"query": "hi"}, timeout=1.0) as answer:
                await answer.aread()
        assert fitting.is_set()
        await eventually(lambda: bool(sidecar.rows()) and sidecar.rows()[-1]["status"] != "pending")
        (row,) = sidecar.rows()
        assert (row["status"], row["error_code"], row["input_tokens"]) == ("cancelled", "rate_limited", 0)
        assert row["cost_micro_usd"] == 0
        (budget,) = (await sidecar.http.get("/api/v1/budgets")).json()["budgets"]
        assert (budget["used_usd"], budget["reserved_usd"]) == (0, 0)


async def test_a_model_that_is_found_to_count_more_while_a_summary_is_written_costs_the_summary_and_no_answer(
    tmp_path: Path,
) -> None:
    """What may never be trimmed fitted when the route was told; by the new factor it would not."""
    async with FakeProvider(models={"small": 4096, "scribe": 8192}) as server:
        local = {"api_base": server.url}
        async with running_sidecar(
            tmp_path,
            models=[
                {"id": "ollama/small", "context_window": 4096, "tokenizer": "llama3", **local},
                {"id": "ollama/scribe", "context_window": 8192, **local},
            ],
            rules=[{"name": "all", "conditions": {}, "model": "ollama/small"}],
            models_extra={"summarizer": "ollama/scribe"},
            profiles=[{"id": "open", "system_prompt": "Rule number one is a rule. " * 300}],
        ) as sidecar:
            server.script(Reply(text=("They spoke of rules.",), delay=0.5))
            talk = [{"role": "user" if n % 2 == 0 else "assistant", "content": f"word {n} " * 60} for n in range(21)]
            asking = asyncio.create_task(sidecar.chat(messages=[*talk, {"role": "user", "content": "And now?"}]))
            await eventually(lambda: len(server.chats) == 1)
            assert server.chats[0].model == "scribe"
            for _ in range(6):
                sidecar.services.router._fitter.calibrator.observe(
                    "ollama/small", predicted=1_000, reported=1_900, suspect=False
                )
            events = await asking
            assert [events[0].name, events[-1].name] == ["route", "done"], events[-1].data
