"""Which agents there are: our own, those of other packages, and the entries of agents.yaml that run them.

Other packages offer agents through the entry-point group `llm_sidecar.agents`; each is imported when it is first
needed, and one that cannot be is a sentence in the configuration's warnings and nothing else.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from app.agents.base import Agent, Lack
from app.agents.checking import first_problem, schema_problem
from app.config.loader import Config
from app.config.schema import AgentEntry
from app.errors import ConfigProblem, NotFound

GROUP: Final = "llm_sidecar.agents"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Registered:
    """One entry with its agent. `agent` None: there is none, and `problem` says why."""

    entry: AgentEntry
    kind: str
    agent: Agent | None
    problem: str | None = None
    configured: bool = True
    """False: agents.yaml does not name it, so it runs when it is triggered."""

    @property
    def lacks(self) -> Sequence[Lack]:
        if self.agent is None:
            problem = self.problem or "there is no such agent"
            return (Lack(f"its package: {problem}", "install or mend it (the sidecar's log says more), then restart"),)
        return lacks_of(self.agent, self.entry)


def lacks_of(agent: Agent, entry: AgentEntry) -> Sequence[Lack]:
    """What the entry lacks. An agent of another package that cannot say is one that cannot run."""
    try:
        return tuple(agent.lacks(entry))
    except Exception as error:
        log.exception("the agent `%s` cannot say what it lacks", agent.name)
        return (Lack(f"the agent cannot say what it lacks: {type(error).__name__}", "tell who wrote it"),)


def kind_of(entry: AgentEntry) -> str:
    """Which agent an entry runs."""
    return entry.agent or entry.name


def plugins() -> Mapping[str, EntryPoint]:
    """What other packages offer, by name; looked for once, as reading every package's list takes 10 ms. Nothing is
    imported."""
    return _offered(tuple(sys.path))


@cache
def _offered(_path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def check_agents(kinds: Mapping[str, type[Agent]]) -> Callable[[Config], Iterator[ConfigProblem]]:
    """For `config.load(path, checks)`: what is wrong with each entry's agent, input and settings. `kinds` are our own
    agents. An agent that nobody has is a warning: its package may come back."""

    def check(config: Config) -> Iterator[ConfigProblem]:
        offered = plugins()
        for index, entry in enumerate(config.agents.agents):
            where, kind = f"agents[{index}]", kind_of(entry)
            found = kinds.get(kind)
            if found is None and kind not in offered:
                key = "agent" if entry.agent else "name"
                known = ", ".join(sorted({*kinds, *offered}))
                message = f"there is no agent `{kind}`, so it does not run; there are: {known}"
                yield ConfigProblem("agents.yaml", f"{where}.{key}", message, warning=True)
            if found is not None:
                # What one trigger may add is not there yet: only what is there must fit.
                given = {**found.input_schema, "required": []}
                misfits = [
                    *_misfit(entry.settings, found.settings_schema, f"{where}.settings"),
                    *_misfit(entry.input, given, f"{where}.input"),
                ]
                yield from misfits
                if not misfits:
                    for field, words in found.problems(entry):
                        yield ConfigProblem("agents.yaml", f"{where}.{field}", words)

    return check


def _misfit(value: object, schema: Mapping[str, object], where: str) -> Iterator[ConfigProblem]:
    if problem := first_problem(value, schema):
        place, colon, message = problem.partition(": ")
        plain = colon and " " not in place
        yield ConfigProblem("agents.yaml", f"{where}.{place}" if plain else where, message if plain else problem)


class Registry:
    """Our own agents and other packages', and the entries in force. `config` returns the current configuration."""

    def __init__(self, own: Sequence[Agent], config: Callable[[], Config]) -> None:
        self._own = {agent.name: agent for agent in own}
        self._config = config
        self._offered = plugins()
        self._loaded: dict[str, Agent | str] = {}
        """Of other packages: the agent, or why there is none."""

    def all(self) -> list[Registered]:
        """Entries in the order of agents.yaml, then agents that it does not name."""
        entries = self._config().agents.agents
        found = [self._registered(entry) for entry in entries]
        used = {registered.kind for registered in found} | {entry.name for entry in entries}
        rest = [name for name in (*self._own, *self._offered) if name not in used]
        return found + [self._unnamed(name) for name in dict.fromkeys(rest)]

    def find(self, name: str) -> Registered:
        """The entry, or the agent agents.yaml does not name. Raises `NotFound` (`agent_not_found`)."""
        for entry in self._config().agents.agents:
            if entry.name == name:
                return self._registered(entry)
        if name in self._own or name in self._offered:
            return self._unnamed(name)
        known = ", ".join(registered.entry.name for registered in self.all())
        raise NotFound(f"there is no agent of that name; there are: {known or 'none'}", code="agent_not_found")

    def _unnamed(self, name: str) -> Registered:
        agent = self._agent(name)
        entry = AgentEntry(name=name, enabled=False)
        if isinstance(agent, str):
            return Registered(entry, name, None, agent, configured=False)
        return Registered(entry, name, agent, configured=False)

    def _registered(self, entry: AgentEntry) -> Registered:
        kind = kind_of(entry)
        agent = self._agent(kind)
        return Registered(entry, kind, None, agent) if isinstance(agent, str) else Registered(entry, kind, agent)

    def _agent(self, kind: str) -> Agent | str:
        if (own := self._own.get(kind)) is not None:
            return own
        if kind not in self._loaded:
            point = self._offered.get(kind)
            self._loaded[kind] = f"no package offers an agent `{kind}`" if point is None else load_plugin(point)
        return self._loaded[kind]


def load_plugin(point: EntryPoint) -> Agent | str:
    """The agent of an entry point, or why it cannot be used. Never raises for what the package does."""
    package = point.dist.name if point.dist is not None else "a package"
    try:
        made = point.load()
        agent = made() if isinstance(made, type) else made
    except Exception as error:
        log.exception("the agent `%s` of %s cannot be loaded", point.name, package)
        return f"the agent `{point.name}` of {package} cannot be loaded: {type(error).__name__}"
    if not isinstance(agent, Agent):
        return f"`{point.value}` of {package} is no `app.agents.base.Agent`"
    if agent.name != point.name:
        return f"`{point.value}` of {package} calls itself `{agent.name}` and is offered as `{point.name}`"
    for which in ("input_schema", "settings_schema"):
        if problem := schema_problem(getattr(agent, which)):
            return f"the {which} of the agent `{point.name}` of {package} is no JSON Schema: {problem}"
    return agent
