"""Agents of other packages: found by their entry points, loaded when needed, and never a reason to fall over."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.agents.maintenance import Maintenance
from app.agents.registry import Registered, Registry, check_agents
from app.config.loader import Config, load
from app.errors import ConfigError, NotFound
from app.services.agents import OWN
from tests.fakes.agents import write_agents

CODE = """
from app.agents.base import Agent, AgentResult

class Good(Agent):
    name, description = "good", "Does well."

    async def run(self, context):
        return AgentResult("well")

class Silent(Good):
    name = "silent"

    @classmethod
    def lacks(cls, entry):
        raise KeyError("x")

class Renamed(Good):
    pass

class BadSchema(Good):
    name, input_schema = "bad-schema", {"type": 7}

no_agent = 3
"""
POINTS = """[llm_sidecar.agents]
good = sidecar_test_agents:Good
silent = sidecar_test_agents:Silent
renamed = sidecar_test_agents:Renamed
bad-schema = sidecar_test_agents:BadSchema
no-agent = sidecar_test_agents:no_agent
missing = sidecar_test_agents_that_are_not_there:Agent
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with agents, as pip leaves one behind."""
    site = tmp_path / "site"
    info = site / "sidecar_test_agents-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sidecar-test-agents\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (site / "sidecar_test_agents.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("sidecar_test_agents", None)


def registry(config: Config) -> Registry:
    return Registry([], lambda: config)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("good", None),
        ("renamed", "calls itself `good`"),
        ("bad-schema", "is no JSON Schema"),
        ("no-agent", "is no `app.agents.base.Agent`"),
        ("missing", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_what_a_package_offers(tmp_path: Path, name: str, says: str | None) -> None:
    found = registry(write_agents(tmp_path, [{"name": name}])).find(name)
    assert (found.agent is None) == (says is not None)
    if says is not None:
        assert says in found.lacks[0].what
    assert says is None or "sidecar-test-agents" in (found.problem or "")


@pytest.mark.usefixtures("package")
def test_an_agent_that_cannot_say_what_it_lacks_cannot_run(tmp_path: Path) -> None:
    found = registry(write_agents(tmp_path, [])).find("silent")
    assert "KeyError" in found.lacks[0].what


@pytest.mark.usefixtures("package")
def test_nothing_is_imported_before_it_is_asked_for(tmp_path: Path) -> None:
    made = registry(write_agents(tmp_path, [{"name": "good"}]))
    list(check_agents(OWN)(write_agents(tmp_path, [{"name": "good"}])))
    assert "sidecar_test_agents" not in sys.modules
    made.find("good")
    assert "sidecar_test_agents" in sys.modules


def test_an_agent_that_agents_yaml_does_not_name_can_be_triggered(tmp_path: Path) -> None:
    config = write_agents(tmp_path, [{"name": "nightly", "agent": "maintenance"}])
    found = Registry([Maintenance.__new__(Maintenance)], lambda: config)
    assert [r.entry.name for r in found.all() if r.agent] == ["nightly"], "its entry stands for it"
    assert found.find("maintenance").configured is False
    with pytest.raises(NotFound):
        found.find("nobody")
    empty = write_agents(tmp_path, [])
    all_of_it: list[Registered] = Registry([Maintenance.__new__(Maintenance)], lambda: empty).all()
    assert [(r.entry.name, r.configured) for r in all_of_it] == [("maintenance", False)]


def test_an_entry_is_held_against_its_agent_s_schemas(tmp_path: Path) -> None:
    write_agents(tmp_path, [])
    lines = [
        "agents:",
        "  - {name: unknown-one}",
        "  - {name: maintenance, settings: {backups: many}}",
        "  - {name: session_capture, input: {x: 1}}",
    ]
    (tmp_path / "config" / "agents.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "config", [check_agents(OWN)])
    assert [str(problem) for problem in caught.value.problems] == [
        "agents.yaml:3: agents[1].settings.backups: must be a whole number",
        "agents.yaml:4: agents[2].input: holds a key that is not known; known are: none",
    ]
    (tmp_path / "config" / "agents.yaml").write_text("\n".join(lines[:2]))
    (warning,) = load(tmp_path / "config", [check_agents(OWN)]).warnings
    assert warning.startswith("agents.yaml:2: agents[0].name: there is no agent `unknown-one`")
