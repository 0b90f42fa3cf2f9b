"""What the YAML files may say. Unknown keys are refused; every default is the documented one.

What one value may be is checked here; what holds between values and between files is in `crosscheck`.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from app.config.redact import redact_patterns

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
ModelId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\s\x00-\x1f\x7f-\x9f]+$")]
TaskType = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
LocationName = Literal["in_process", "loopback", "trusted", "cloud"]
Capability = Literal["tools", "images", "response_format"]


RESERVED_PARAMS = frozenset({
    "api_base", "api_key", "api_version", "base_url", "custom_llm_provider", "extra_headers", "headers", "messages",
    "model", "organization", "proxy", "stream", "stream_options",
})  # fmt: skip
"""What a call is made of. In `params` these would send it elsewhere than its configured endpoint, past the policy."""

_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\Z"
)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _api_base(value: str) -> str:
    """An http(s) URL with a host and nothing that could carry a secret; without a trailing slash."""
    try:
        url = urlsplit(value)
        port_is_good = url.port is None or url.port > 0
    except ValueError:
        raise ValueError("must be a URL such as http://127.0.0.1:11434") from None
    if any(c.isspace() or not c.isprintable() for c in value) or "\\" in value:
        raise ValueError("must be a URL without spaces, backslashes or control characters")
    if url.scheme not in ("http", "https") or not url.hostname or not port_is_good:
        raise ValueError("must be a URL with http:// or https:// and a host, such as http://127.0.0.1:11434")
    if "@" in url.netloc:
        raise ValueError("must not hold a user name or a password; name the key's variable in `api_key_env`")
    if "?" in value or "#" in value:
        raise ValueError("must not have a query or a fragment (`?`, `#`)")
    return value.rstrip("/")


def _trusted_host(value: str) -> str:
    """One host name or address, lower case; never a range, since what is listed may see private workspaces."""
    text = value.strip().lower().rstrip(".")
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        if "*" in text or "/" in text or ":" in text or not _HOST.match(text):
            raise ValueError(
                "must be one host name or one IP address, without a scheme, a port, a wildcard or a range"
            ) from None
        if text.replace(".", "").isdigit() or text.startswith("0x"):
            raise ValueError("is not a valid IP address") from None
        return text
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        raise ValueError("must not be an unspecified, multicast or link-local address")
    return str(address)


def _env_name(value: str) -> str:
    if not _ENV_NAME.match(value) or redact_patterns(value) != value:
        raise ValueError("must be the name of an environment variable (such as OPENAI_API_KEY), never the key itself")
    return value


def _params(value: dict[str, Any]) -> dict[str, Any]:
    if reserved := sorted(RESERVED_PARAMS.intersection(key.lower() for key in value)):
        raise ValueError(f"must not hold {', '.join(reserved)}: the call's address and body are set elsewhere")
    return value


ApiBase = Annotated[str, Field(max_length=2048), AfterValidator(_api_base)]
EnvName = Annotated[str, AfterValidator(_env_name)]
TrustedHost = Annotated[str, AfterValidator(_trusted_host)]
Params = Annotated[dict[str, Any], AfterValidator(_params)]
Tokens = Annotated[int, Field(gt=0, le=1_000_000_000)]
"""What a receipt can hold, and more than any model."""


class Entry(BaseModel):
    """Base of every configuration object: immutable, strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class ProviderEntry(Entry):
    """Where a provider's models are asked, unless a model says otherwise."""

    api_base: ApiBase | None = Field(
        None, description="Base URL; bare host for Ollama, Anthropic, Gemini, `/v1` for OpenAI-style."
    )
    api_key_env: EnvName | None = Field(None, description="Environment variable (or keyring entry) of the key.")
    location: LocationName | None = Field(
        None, description="Makes the provider more remote than its address, never less."
    )
    concurrency: PositiveInt | None = Field(
        None, description="Calls its server gets at once; left out, it queues by itself. People go before agents."
    )


class ModelEntry(Entry):
    """One model of models.yaml. What is left out comes from litellm's bundled map or the model's server."""

    id: ModelId = Field(description="`provider/name` as litellm writes it, or a bare name litellm knows.")
    context_window: Tokens | None = Field(None, description="Tokens, input and output together.")
    max_output_tokens: Tokens | None = Field(None, description="Most tokens the model may write.")
    tokenizer: str | None = Field(None, description="llama3, llama2, mistral, qwen, claude, gemini, gpt-4o, gpt-4 …")
    api_base: ApiBase | None = None
    api_key_env: EnvName | None = None
    location: LocationName | None = None
    input_cost_per_million: NonNegativeFloat | None = Field(None, description="US dollars.")
    output_cost_per_million: NonNegativeFloat | None = Field(None, description="US dollars.")
    cached_input_cost_per_million: NonNegativeFloat | None = Field(None, description="US dollars.")
    cache_write_cost_per_million: NonNegativeFloat | None = Field(None, description="US dollars.")
    reasoning_cost_per_million: NonNegativeFloat | None = Field(
        None, description="US dollars, of output tokens that are thought; left out, what the others cost."
    )
    supports: tuple[Capability, ...] | None = Field(None, description="What the model can do, where it is known.")
    params: Params = Field(default_factory=dict, description="Sent with every call, e.g. temperature, keep_alive.")
    gguf: str | None = Field(
        None,
        pattern=r"^[^\x00-\x1f]+$",
        description="GGUF file of an `embedded/…` model; relative to the configuration folder, absolute once loaded.",
    )


class ModelsFile(Entry):
    providers: dict[str, ProviderEntry] = Field(default_factory=dict)
    trusted_hosts: tuple[TrustedHost, ...] = Field(
        (), description="Hosts of your own network that may see private workspaces."
    )
    models: tuple[ModelEntry, ...]
    upgrades: tuple[ModelId, ...] = Field((), description="Tried in this order when a window is too small.")
    summarizer: ModelId | None = None


class Retry(Entry):
    backoff_seconds: tuple[NonNegativeFloat, ...] = Field((1, 5, 15), max_length=10)
    max_total_seconds: PositiveFloat = 120


class Timeouts(Entry):
    """Seconds."""

    first_token_seconds: PositiveFloat = 60
    idle_seconds: PositiveFloat = 60
    total_seconds: PositiveFloat = 600


class TimeoutOverrides(Entry):
    first_token_seconds: PositiveFloat | None = None
    idle_seconds: PositiveFloat | None = None
    total_seconds: PositiveFloat | None = None


class Rule(Entry):
    """`conditions` is compiled by `app.routing.conditions`, through the checks passed to the loader."""

    name: Name
    conditions: dict[str, Any] = Field(default_factory=dict, description="Left out or `{}`: it matches everything.")
    model: ModelId
    fallback: Annotated[tuple[ModelId, ...], BeforeValidator(_as_list)] = ()
    params: Params = Field(default_factory=dict)
    timeouts: TimeoutOverrides = TimeoutOverrides()
    max_output_tokens: Tokens | None = None


class SummarySettings(Entry):
    """Of the summary that is written within a request, as a last resort."""

    max_wait_seconds: NonNegativeFloat = Field(
        10, le=600, description="How long an answer waits for a model's summary; then sentences are picked without one."
    )
    session_wait_seconds: NonNegativeFloat = Field(
        0, le=600, description="The same where there is a session, whose own summary is written after the answer."
    )


class ContextSettings(Entry):
    """Where the context builder draws its lines."""

    similarity_line: float = Field(
        0.80,
        ge=-1,
        le=1,
        description="Cosine from which a chunk beyond the first three stays longer than old messages.",
    )
    upgrade_threshold: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of what is trimmed last that may be cut off before a larger model is asked instead.",
    )


class RetrievalSettings(Entry):
    """Of `retrieve: true`: what the workspace's index adds to a request."""

    max_wait_ms: PositiveInt = Field(
        300, le=60_000, description="Milliseconds an answer waits for the index; what is late is left out and said."
    )
    chunks: PositiveInt = Field(12, le=100, description="Most pieces of files to offer.")
    entities: NonNegativeInt = Field(
        8, le=50, description="Most entities to offer, and as many neighbours of theirs; 0: none."
    )
    history: NonNegativeInt = Field(
        4, le=50, description="Most exchanges of the workspace's other sessions to offer; 0: none."
    )
    similarity_line: float = Field(
        0.35, ge=-1, le=1, description="Cosine from which a piece found counts as similar, and stays longer."
    )


class RoutingFile(Entry):
    retry: Retry = Retry()
    timeouts: Timeouts = Timeouts()
    context: ContextSettings = ContextSettings()
    summary: SummarySettings = SummarySettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    local_fallback: ModelId | None = Field(None, description="Used when the policy has emptied a route.")
    rules: tuple[Rule, ...]


class CountAs(Entry):
    """What a call of unknown price is taken to cost."""

    count_as: NonNegativeFloat = Field(description="US dollars per million tokens, input and output alike.")


class Budget(Entry):
    """A spending limit per calendar period, or per request.

    It stands in profiles.yaml for all profiles together, under a profile, or under an agent in agents.yaml.
    """

    period: Literal["hour", "day", "week", "month", "request"] = Field(
        description="A calendar period, weeks from Monday; or each request by itself."
    )
    limit_usd: float = Field(ge=0, le=1_000_000_000, description="US dollars. 0: nothing that costs.")
    alert_at: tuple[Annotated[float, Field(gt=0, le=10)], ...] = Field(
        (0.8, 1.0), description="Fractions of the limit at which an alert is raised, each once a period."
    )
    on_limit: Literal["alert", "cheaper", "local_only", "block"] = "alert"
    agent: Name | None = Field(None, description="What this agent asks for only.")
    task_type: TaskType | None = Field(None, description="Requests of this task type only.")
    timezone: str | None = Field(
        None, description="IANA name, of its periods; else the profile's or the agent's, else the machine's."
    )
    unknown_price: Literal["refuse"] | CountAs | None = Field(
        None, description="A model without a price; left out: refused, and under `on_limit: alert` told."
    )
    shadow: bool = Field(False, description="True: only tells what it would have done.")


class WebhookSettings(Entry):
    """Where notifications are posted. Nothing of a private workspace is."""

    url: str = Field(min_length=1, max_length=2048, pattern=r"^https?://[^\s]+$", description="http:// or https://")
    secret_env: EnvName | None = Field(None, description="Environment variable (or keyring entry) that signs them.")
    allow_local: tuple[TrustedHost, ...] = Field(
        (), description="Hosts of this machine or network that may be called; else only the public internet is."
    )


class NotificationSettings(Entry):
    """Where notifications are brought, besides the inbox."""

    desktop: bool = Field(True, description="Show them on the desktop, where one answers.")
    webhook: WebhookSettings | None = None


class Profile(Entry):
    """A workspace: the setting somebody works under."""

    id: Name
    name: str | None = None
    block_cloud_apis: bool = Field(False, description="True: nothing of this workspace ever leaves the machine.")
    system_prompt: str | None = None
    timezone: str | None = Field(None, description="IANA name; the machine's zone when absent.")
    local_fallback: ModelId | None = None
    budgets: tuple[Budget, ...] = ()
    quiet_hours: str | None = Field(
        None,
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$",
        description="Such as 22:00-07:00: what comes then is brought afterwards; the inbox has it at once.",
    )


class UsageSettings(Entry):
    """Of the ledger and its reports."""

    reference_model: ModelId | None = Field(
        None, description="What local models' savings are measured by; left out: the first cloud model with a price."
    )
    keep_rows_days: int | None = Field(
        None,
        ge=33,  # budgets of a month read their rows
        le=36_500,
        description="Rows older than this are dropped by the agent `maintenance`; their sums stay. Never, if absent.",
    )


class ProfilesFile(Entry):
    default_workspace: Name = Field("default", description="Of requests that name none; left out: the first profile.")
    profiles: tuple[Profile, ...] = ()
    budgets: tuple[Budget, ...] = Field((), description="For all profiles together.")
    notifications: NotificationSettings = NotificationSettings()
    usage: UsageSettings = UsageSettings()


AgentHost = Annotated[str, Field(max_length=253, pattern=r"^(\*\.)?[A-Za-z0-9_.:\[\]-]+$")]
Json = Annotated[dict[str, Any], Field(max_length=1000)]


class AgentEntry(Entry):
    """One agent. `schedule` is read by the agents' layer, through the checks passed to the loader."""

    name: Name
    agent: Name | None = Field(None, description="Which agent this is, where several entries run the same one.")
    schedule: str | None = Field(None, description="Left out: it runs when it is triggered, and only then.")
    timezone: str | None = None
    workspace: Name | None = None
    enabled: bool = Field(True, description="False: its schedule rests; it can still be triggered.")
    grace_seconds: NonNegativeFloat = Field(
        3600, le=31_622_400, description="How late a run that was missed may still be made up for."
    )
    timeout_seconds: PositiveFloat = Field(900, le=86_400, description="Longest a run may take.")
    jitter_seconds: NonNegativeFloat = Field(0, le=3600, description="A start is put off by chance up to this.")
    max_failures: int = Field(5, ge=0, le=1000, description="Failures in a row after which it is paused; 0: never.")
    retries: int = Field(0, ge=0, le=10, description="Further tries of a run that failed.")
    retry_seconds: NonNegativeFloat = Field(60, le=3600, description="Before the first of them; then twice as long.")
    hosts: tuple[AgentHost, ...] = Field(
        (), max_length=200, description="Hosts outside this machine that it may ask; `*.example.org` for all below one."
    )
    budget: Budget | None = Field(None, description="What it may spend, in every workspace.")
    input: Json = Field(default_factory=dict, description="Of scheduled runs; a trigger's own is put over it.")
    settings: Json = Field(default_factory=dict, description="What the agent itself is set to; see its page.")


class AgentsFile(Entry):
    max_running: PositiveInt = Field(4, le=100, description="Runs at once; further ones wait their turn.")
    keep_days: PositiveInt = Field(30, le=3650, description="How long runs are kept.")
    agents: tuple[AgentEntry, ...] = ()
