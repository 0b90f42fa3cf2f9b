"""Which model a chat gets, as a caller sees it: conditions, detection, local fallbacks, the stock configuration."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.laboratory import Laboratory
from tests.fakes.sidecar import RunningSidecar, running_sidecar

pytestmark = pytest.mark.asyncio(loop_scope="module")

STOCK = Path(__file__).parents[2] / "config"
CODE = "```python\ndef add(a, b):\n    return a + b\n```\nWhy does `add(1)` raise a TypeError?"
PROSE = "Write to my aunt that the train to Hamburg leaves at nine and that she should bring an umbrella."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stock(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    """The shipped files, with a port where nothing listens: an Ollama may run on this machine. Explain calls nobody."""
    folder = tmp_path_factory.mktemp("stock")
    shutil.copytree(STOCK, folder / "config")
    models = folder / "config" / "models.yaml"
    models.write_text(models.read_text().replace("127.0.0.1:11434", "127.0.0.1:1"))
    async with running_sidecar(folder) as sidecar:
        yield sidecar


async def rule_of(lab: Laboratory, **body: Any) -> str:
    rule: str = (await lab.chat(**body))[0].data["rule"]
    return rule


@pytest.mark.parametrize(
    ("metadata", "rule"),
    [
        ({"tier": "gold", "score": 3}, "tuned"),
        ({"tier": "gold", "score": 2.5}, "rest"),
        ({"tier": "gold", "score": "3"}, "rest"),
        ({"tier": "gold"}, "rest"),
        ({"tier": "silver", "score": 9}, "rest"),
        ({}, "rest"),
    ],
)
async def test_conditions_on_metadata(lab: Laboratory, metadata: dict[str, Any], rule: str) -> None:
    assert await rule_of(lab, query="hi", metadata=metadata) == rule


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"query": CODE}, "code"),
        ({"query": PROSE}, "rest"),
        ({"query": PROSE, "contains_code": True}, "code"),
        ({"query": CODE, "contains_code": False}, "rest"),
        ({"query": "why?", "context": {"file": {"text": "x = 1\n", "path": "x.py"}}}, "code"),
        ({"query": "why?", "context": {"stacktrace": "Traceback (most recent call last): boom"}}, "code"),
        ({"query": "why?", "context": {"history": [{"role": "user", "content": CODE}]}}, "code"),
    ],
)
async def test_code_is_detected_where_the_caller_does_not_say(lab: Laboratory, body: dict[str, Any], rule: str) -> None:
    assert await rule_of(lab, task_type="detect", **body) == rule


async def test_the_workspaces_local_fallback_steps_in(lab: Laboratory) -> None:
    events = await lab.chat(query="hi", task_type="away", workspace="shy")
    assert (events[0].data["rule"], events[0].data["candidates"]) == ("away", ["ollama/small"])
    assert any("openai/priced" in reason for reason in events[0].data["reasons"])
    assert any("local fallback" in reason for reason in events[0].data["reasons"])
    assert events[-1].data["model"] == "ollama/small"


async def test_a_request_that_names_no_workspace_is_the_default_ones(lab: Laboratory) -> None:
    events = await lab.chat(query="hi")
    (row,) = lab.rows(events[0].data["request_id"])
    assert row["workspace_profile_id"] == "open"


async def test_a_model_the_server_does_not_list_is_asked_all_the_same(lab: Laboratory) -> None:
    events = await lab.chat(query="hi", model="ollama/torn")
    assert events[-1].data["model"] == "ollama/torn"


# -- the seed's examples, with the files that ship -----------------------------------------------------------------

CLAUDE = "claude-sonnet-4-5-20250929"
SEED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"task_type": "debugging", "workspace": "work", "contains_code": True},
        "work_stays_local",
        "ollama/codellama:13b",
    ),
    ({"task_type": "debugging", "workspace": "thesis-research", "contains_code": True}, "complex_reasoning", CLAUDE),
    ({"task_type": "refactoring"}, "complex_reasoning", CLAUDE),
    ({"task_type": "completion"}, "code_completion", "ollama/codellama:13b"),
    ({"task_type": "error_resolution"}, "code_completion", "ollama/codellama:13b"),
    ({"task_type": "summarization"}, "summaries", "ollama/llama3:8b"),
    ({"task_type": "session_capture"}, "summaries", "ollama/llama3:8b"),
    ({"task_type": "long_context"}, "long_context", "gpt-4o"),
    ({"task_type": "creative"}, "creative_and_research", CLAUDE),
    ({"task_type": "research", "workspace": "work"}, "work_stays_local", "ollama/codellama:13b"),
    ({}, "default", "ollama/llama3:8b"),
]


@pytest.mark.parametrize(("body", "rule", "model"), SEED, ids=str)
async def test_the_seeds_worked_examples(stock: RunningSidecar, body: dict[str, Any], rule: str, model: str) -> None:
    response = await stock.http.post("/api/v1/explain", json={"query": "Why is it slow?", **body})
    assert response.status_code == 200, response.text
    route = response.json()["route"]
    assert (route["rule"], route["model"]) == (rule, model)
    assert route["candidates"][-1] == "builtin/extractive"


async def test_the_seeds_windows(stock: RunningSidecar) -> None:
    models = {m["id"]: m for m in (await stock.http.get("/api/v1/models")).json()["models"]}
    assert {name: models[name]["context_window"]["value"] for name in models if name != "builtin/extractive"} == {
        "ollama/llama3:8b": 8192,
        "ollama/codellama:13b": 16384,
        "ollama/llama3:70b": 8192,
        "ollama/llama3:8b-32k": 32768,
        CLAUDE: 200000,
        "gpt-4o": 128000,
        "gemini/gemini-2.0-flash": 1048576,
    }
    assert models["gpt-4o"]["available"] is models["ollama/llama3:8b"]["available"] is None, "nobody could be asked"
    assert (models[CLAUDE]["price"]["value"]["input"], models[CLAUDE]["price"]["value"]["output"]) == (3, 15)
    assert (models["gpt-4o"]["price"]["value"]["input"], models["gpt-4o"]["price"]["value"]["output"]) == (2.5, 10)
    assert models["ollama/llama3:8b"]["price"]["value"]["output"] == 0


async def test_the_seeds_17000_tokens_go_to_a_larger_window(stock: RunningSidecar) -> None:
    """Section 3's second example: more than llama3:8b holds, so section 4's strategy 2 asks for an upgrade."""

    def code(name: str, lines: int) -> str:
        return "".join(f"    {name}_{line} = transition(state, event, {line})\n" for line in range(lines))

    context = {
        "session_state": "The optimiser runs out of memory. " * 100,
        "chunks": [{"text": code(f"m{i}", 20), "path": f"m{i}.py", "similarity": 0.9 - i / 100} for i in range(20)],
        "file": {"text": code("main", 500), "path": "main.py", "line": 10},
        "history": [{"role": "user", "content": f"{i}: and the learning rate? " + "hm " * 120} for i in range(30)],
    }
    body = {"query": "Why?", "task_type": "chat", "context": context}
    for workspace, model in (("personal", "ollama/llama3:8b-32k"), ("work", "ollama/llama3:8b-32k")):
        found = (await stock.http.post("/api/v1/explain", json={**body, "workspace": workspace})).json()
        first = found["candidates"][0]
        assert found["facts"]["input_tokens"] > 16_000
        assert (first["context"]["model"], first["context"]["upgraded_from"]) == (model, found["route"]["model"])


async def test_a_fresh_machine_gets_an_honest_answer(stock: RunningSidecar) -> None:
    events = await stock.chat(query="What is a monad?", workspace="work")
    assert events[-1].name == "done"
    assert events[-1].data["model"] == "builtin/extractive"
    said = "".join(e.data["text"] for e in events if e.name == "token")
    assert "ollama" in said.lower()
