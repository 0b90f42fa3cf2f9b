"""Agent, AgentContext, AgentResult: what an agent is, what it is given, what it leaves behind.

    class Greeter(Agent):
        name = "greeter"
        description = "Says good morning."

        async def run(self, context: AgentContext) -> AgentResult:
            answer = await context.llm_router.ask("Say good morning in one line.", task_type="creative")
            await context.notification_service.notify("Good morning", answer.text)
            return AgentResult(summary=answer.text)

An agent knows nothing of privacy, budgets, schedules or dry runs: what it is given keeps to them. Its models are asked
through the one router; its reads see its own workspace; in a dry run what it stores and tells is noted and held back;
and once it has read where something was written in private, that run asks no cloud model and no host outside. Whether
the workspace is private is asked anew at each request, also of a run that is under way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar

from app.config.schema import AgentEntry, Profile
from app.llm.outside import OutsideResponse as OutsideResponse

if TYPE_CHECKING:
    from app.agents.data import AgentData, AgentMemory, AgentStore
    from app.agents.door import AgentRouter
    from app.agents.graph import AgentGraph
    from app.agents.runlog import RunLog

T = TypeVar("T")

Severity: TypeAlias = Literal["info", "success", "warning", "error"]

NO_INPUT: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
"""The input schema of an agent that takes none."""


@dataclass(frozen=True, slots=True)
class Lack:
    """Something an agent cannot work without: `what` completes "it lacks ...", and what to do about it. For people, no
    full stop."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What a run came to. Models and cost are not in it: they are read off the ledger.

    `summary` is Markdown for people. `data` and `stored` are for programs: JSON values, and the ids of what was stored.
    """

    summary: str
    data: Mapping[str, Any] = field(default_factory=dict)
    stored: Sequence[str] = ()


class NotificationService(Protocol):
    """Where an agent tells people something. In a dry run it is noted and nobody is told."""

    async def notify(
        self,
        title: str,
        body: str = "",
        *,
        severity: Severity = "info",
        links: Sequence[Mapping[str, str]] = (),
        dedupe_key: str | None = None,
    ) -> str | None:
        """The notification's id; None where it was held back or is one that has just been sent.

        `links` are `{title, url}`. `dedupe_key`: the same news is told once until its cool-down is over.
        """
        ...


class OutsideHttp(Protocol):
    """The world outside, as far as the agent may go.

    In a workspace with `block_cloud_apis`, and in a run that has read something private, it reaches loopback and
    trusted hosts, elsewhere also the hosts its entry lists: as things stand at each request, and at each redirect.
    Addresses are pinned, sizes and times bounded.
    """

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, max_bytes: int | None = None
    ) -> OutsideResponse:
        """The answer, whatever its status. Raises `EgressBlocked` where the host may not be asked, with the reason, and
        another `SidecarError` where it does not answer."""
        ...


class Agent(ABC):
    """Scheduled work. One instance serves all runs and may be asked for several workspaces at once: keep no run's
    state on it, `context.state` is there for that."""

    name: ClassVar[str]
    """What agents.yaml calls it: `agent: name`."""
    description: ClassVar[str]
    """One sentence."""
    input_schema: ClassVar[Mapping[str, Any]] = NO_INPUT
    """JSON Schema (2020-12) of `context.input`; checked before a run is accepted."""
    settings_schema: ClassVar[Mapping[str, Any]] = {"type": "object"}
    """JSON Schema of the entry's `settings`."""
    rerun_is_safe: ClassVar[bool] = False
    """Whether a run that was cut off half-way (a crash, a power cut) may simply be made again."""
    reads_private: ClassVar[bool] = True
    """False, for an agent that asks hosts outside: while its workspace is open, nothing that was written in private is
    shown to it (state, documents, SQL, index, graph), so that no run of it loses its way out. Such a run sees an index
    without a hit where anything in that was stored in private."""

    @classmethod
    def lacks(cls, entry: AgentEntry) -> Sequence[Lack]:
        """What this entry must still be given before it can run; nothing when it is complete. Looks at nothing but
        the entry: `doctor` asks without a sidecar."""
        return ()

    @classmethod
    def problems(cls, entry: AgentEntry) -> Iterable[tuple[str, str]]:
        """What is wrong with an entry whose input and settings fit their schemas: (`settings.prompt`, a sentence)."""
        return ()

    @abstractmethod
    async def run(self, context: AgentContext) -> AgentResult:
        """Do the work once. What it raises fails the run: `SidecarError`s are shown to people with their sentence,
        anything else as a fault of the agent, with its traceback in the log. It may be cancelled at any `await`."""


class Storing(Protocol):
    """Runs a write, or in a dry run notes what it would have been and returns None."""

    async def __call__(self, what: str, write: Callable[[], Awaitable[T]]) -> T | None: ...


@dataclass(slots=True)
class AgentContext:
    """Everything one run is given."""

    run_id: str
    agent: str
    """The name of its entry in agents.yaml."""
    workspace_profile: Profile
    """Its `id` is the workspace."""
    memory: AgentMemory
    """The workspace's index: search by meaning and words."""
    graph: AgentGraph
    """The workspace's entities and relations."""
    data: AgentData
    """The database, read-only, as far as the workspace goes: SQL."""
    store: AgentStore
    """The agent's own documents in this workspace: JSON objects by kind and key."""
    llm_router: AgentRouter
    """The one door to every model."""
    notification_service: NotificationService
    http: OutsideHttp
    log: RunLog
    """Kept with the run, bounded, without keys. `log.info("...")`, and `progress` for where it stands now."""
    now: Callable[[], datetime]
    """The time (UTC)."""
    input: Mapping[str, Any]
    """The entry's `input` with the trigger's over it; fits `input_schema`."""
    settings: Mapping[str, Any]
    """The entry's `settings`; fits `settings_schema`."""
    state: dict[str, Any]
    """JSON that lasts from run to run of this agent in this workspace; kept when the run ends well, and only then."""
    storing: Storing
    """For writes of the agent's own kind: `await context.storing("a report", lambda: reports.put(...))`."""
    dry_run: bool = False
    scheduled_at: datetime | None = None
    """When this run was due (UTC); None where somebody triggered it."""
    last_success: datetime | None = None
    """When the last run of this agent in this workspace that ended well began (UTC)."""

    @property
    def workspace(self) -> str:
        return self.workspace_profile.id

    def progress(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Where the run stands, for whoever watches: `progress("reading feeds", 3, 12)`."""
        self.log.progress(text, done, total)
