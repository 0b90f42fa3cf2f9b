"""What the YAML files may say. Unknown keys are refused; every default is the documented one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
ModelId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\s\x00-\x1f]+$")]
TaskType = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
LocationName = Literal["in_process", "loopback", "trusted", "cloud"]
Capability = Literal["tools", "images", "response_format"]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Entry(BaseModel):
    """Base of every configuration object: immutable, strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ProviderEntry(Entry):
    """Where a provider's models are asked, unless a model says otherwise."""

    api_base: str | None = Field(
        None, description="Base URL; bare host for Ollama, Anthropic, Gemini, `/v1` for OpenAI-style."
    )
    api_key_env: str | None = Field(None, description="Environment variable (or keyring entry) of the key.")
    location: LocationName | None = Field(
        None, description="Makes the provider more remote than its address, never less."
    )


class ModelEntry(Entry):
    """One model of models.yaml. What is left out comes from litellm's bundled map or the model's server."""

    id: ModelId = Field(description="`provider/name` as litellm writes it, or a bare name litellm knows.")
    context_window: PositiveInt | None = Field(None, description="Tokens, input and output together.")
    max_output_tokens: PositiveInt | None = Field(None, description="Most tokens the model may write.")
    tokenizer: str | None = Field(None, description="llama3, llama2, mistral, qwen, claude, gemini, gpt-4o, gpt-4 …")
    api_base: str | None = None
    api_key_env: str | None = None
    location: LocationName | None = None
    input_cost_per_million: NonNegativeFloat | None = Field(None, description="US dollars.")
    output_cost_per_million: NonNegativeFloat | None = Field(None, description="US dollars.")
    cached_input_cost_per_million: NonNegativeFloat | None = Field(None, description="US dollars.")
    cache_write_cost_per_million: NonNegativeFloat | None = Field(None, description="US dollars.")
    supports: tuple[Capability, ...] | None = Field(None, description="What the model can do, where it is known.")
    params: dict[str, Any] = Field(
        default_factory=dict, description="Sent with every call, e.g. temperature, keep_alive."
    )
    gguf: str | None = Field(None, description="Path of the GGUF file of an `embedded/…` model.")


class ModelsFile(Entry):
    providers: dict[str, ProviderEntry] = Field(default_factory=dict)
    trusted_hosts: tuple[str, ...] = Field((), description="Hosts of your own network that may see private workspaces.")
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
    conditions: dict[str, Any]
    model: ModelId
    fallback: Annotated[tuple[ModelId, ...], BeforeValidator(_as_list)] = ()
    params: dict[str, Any] = Field(default_factory=dict)
    timeouts: TimeoutOverrides = TimeoutOverrides()
    max_output_tokens: PositiveInt | None = None


class RoutingFile(Entry):
    retry: Retry = Retry()
    timeouts: Timeouts = Timeouts()
    local_fallback: ModelId | None = Field(None, description="Used when the policy has emptied a route.")
    rules: tuple[Rule, ...]


class Budget(Entry):
    period: Literal["hour", "day", "week", "month"]
    limit_usd: NonNegativeFloat
    alert_at: tuple[Annotated[float, Field(gt=0, le=10)], ...] = (0.8, 1.0)
    on_limit: Literal["alert", "local_only", "block"] = "alert"


class Profile(Entry):
    id: Name
    name: str | None = None
    block_cloud_apis: bool = Field(False, description="True: nothing of this workspace ever leaves the machine.")
    system_prompt: str | None = None
    timezone: str | None = Field(None, description="IANA name; the machine's zone when absent.")
    local_fallback: ModelId | None = None
    budgets: tuple[Budget, ...] = ()


class ProfilesFile(Entry):
    default_workspace: Name = "default"
    profiles: tuple[Profile, ...] = ()
    budgets: tuple[Budget, ...] = Field((), description="For all profiles together.")


class AgentEntry(Entry):
    name: Name
    schedule: str
    timezone: str | None = None
    workspace: Name | None = None
    enabled: bool = True


class AgentsFile(Entry):
    agents: tuple[AgentEntry, ...] = ()
