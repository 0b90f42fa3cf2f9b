"""What must hold between values and between files. Each check yields problems; none stops the others."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from app.config.pricemap import BUILTIN_MODELS, OWN_PROVIDERS, KnownModels
from app.config.schema import AgentsFile, Budget, ModelsFile, ProfilesFile, RoutingFile
from app.errors import ConfigProblem

MODELS, ROUTING, PROFILES, AGENTS = "models.yaml", "routing.yaml", "profiles.yaml", "agents.yaml"

_V1_PROVIDERS = frozenset({"hosted_vllm", "litellm_proxy", "llamafile", "lm_studio", "openai", "vllm"})
_BARE_HOST_PROVIDERS = frozenset({"anthropic", "gemini", "ollama", "ollama_chat"})


@dataclass(frozen=True, slots=True)
class Parts:
    """The files that could be read and are well-formed."""

    models: ModelsFile | None
    routing: RoutingFile | None
    profiles: ProfilesFile | None
    agents: AgentsFile | None


def cross_check(parts: Parts, known: KnownModels) -> list[ConfigProblem]:
    """Every problem between the values of `parts`; a file that is None is neither checked nor held against others."""
    problems = [*_names_unique(parts), *_workspaces(parts), *_time_zones(parts), *_budgets(parts)]
    if parts.models is not None:
        problems += [*_providers(parts.models, known), *_embedded(parts.models), *_models(parts.models, known)]
        problems += _references(parts, parts.models, known)
    return problems


def find_warnings(models: ModelsFile, routing: RoutingFile, profiles: ProfilesFile) -> Iterator[str]:
    """Sentences about what is allowed and may not be meant."""
    yield from _rule_warnings(routing)
    yield from _address_warnings(models)
    yield from _workspace_warnings(routing, profiles)


def _names_unique(parts: Parts) -> Iterator[ConfigProblem]:
    lists: list[tuple[str, str, str, Sequence[str]]] = []
    if parts.models:
        lists.append((MODELS, "models", "id", [m.id for m in parts.models.models]))
    if parts.routing:
        lists.append((ROUTING, "rules", "name", [r.name for r in parts.routing.rules]))
    if parts.profiles:
        lists.append((PROFILES, "profiles", "id", [p.id for p in parts.profiles.profiles]))
    if parts.agents:
        lists.append((AGENTS, "agents", "name", [a.name for a in parts.agents.agents]))
    for file, key, field, names in lists:
        for index, name in enumerate(names):
            if (first := names.index(name)) < index:
                message = f"`{name}` is already the {field} of {key}[{first}]; each must be unique"
                yield ConfigProblem(file, f"{key}[{index}].{field}", message)


def _providers(models: ModelsFile, known: KnownModels) -> Iterator[ConfigProblem]:
    for name in models.providers:
        if not known.knows_provider(name):
            close = known.similar(f"{name}/x")
            hint = f"; did you mean `{close.partition('/')[0]}`?" if close else ""
            yield ConfigProblem(MODELS, f"providers.{name}", f"unknown provider{hint}")
        elif name in OWN_PROVIDERS:
            yield ConfigProblem(MODELS, f"providers.{name}", "runs inside this program and has nothing to configure")


def _models(models: ModelsFile, known: KnownModels) -> Iterator[ConfigProblem]:
    for index, model in enumerate(models.models):
        if message := _unresolvable(model.id, known):
            yield ConfigProblem(MODELS, f"models[{index}].id", message)
        if model.api_base and model.id.partition("/")[0] in OWN_PROVIDERS:
            message = "this model runs inside the program and has no address"
            yield ConfigProblem(MODELS, f"models[{index}].api_base", message)
        window, output = model.context_window, model.max_output_tokens
        if window and output and output > window:
            message = f"is larger than the context_window of {window}, which holds input and output together"
            yield ConfigProblem(MODELS, f"models[{index}].max_output_tokens", message)


def _embedded(models: ModelsFile) -> Iterator[ConfigProblem]:
    for index, model in enumerate(models.models):
        embedded = model.id.startswith("embedded/")
        if embedded and model.gguf is None:
            yield ConfigProblem(MODELS, f"models[{index}]", f"`{model.id}` needs `gguf`, the path of its GGUF file")
        if model.gguf is not None and not embedded:
            message = "only an `embedded/…` model is served from a GGUF file"
            yield ConfigProblem(MODELS, f"models[{index}].gguf", message)


def _references(parts: Parts, models: ModelsFile, known: KnownModels) -> Iterator[ConfigProblem]:
    """Every model named anywhere must be listed or resolvable."""
    listed = frozenset(m.id for m in models.models)
    for file, where, model in _named_models(parts, models):
        if model not in listed and (message := _unlisted(model, listed, known)):
            yield ConfigProblem(file, where, message)


def _named_models(parts: Parts, models: ModelsFile) -> Iterator[tuple[str, str, str]]:
    """(file, where, model id) of every reference."""
    for index, model in enumerate(models.upgrades):
        yield MODELS, f"upgrades[{index}]", model
    if models.summarizer:
        yield MODELS, "summarizer", models.summarizer
    for index, profile in enumerate(parts.profiles.profiles if parts.profiles else ()):
        if profile.local_fallback:
            yield PROFILES, f"profiles[{index}].local_fallback", profile.local_fallback
    if parts.routing is None:
        return
    if parts.routing.local_fallback:
        yield ROUTING, "local_fallback", parts.routing.local_fallback
    for index, rule in enumerate(parts.routing.rules):
        yield ROUTING, f"rules[{index}].model", rule.model
        for number, model in enumerate(rule.fallback):
            yield ROUTING, f"rules[{index}].fallback[{number}]", model


def _unlisted(model_id: str, listed: frozenset[str], known: KnownModels) -> str | None:
    """Why a model that is not in models.yaml cannot be used, or None."""
    if model_id.startswith("embedded/"):
        return f"`{model_id}` is not listed in {MODELS}, where an embedded model needs its `gguf`"
    return _unresolvable(model_id, known, listed)


def _unresolvable(model_id: str, known: KnownModels, listed: frozenset[str] = frozenset()) -> str | None:
    """Why nobody could tell where to ask `model_id`, or None."""
    prefix, slash, name = model_id.partition("/")
    if prefix == "builtin":
        built_in = ", ".join(sorted(BUILTIN_MODELS))
        return None if model_id in BUILTIN_MODELS else f"`{model_id}` does not exist; built in: {built_in}"
    if known.knows_model(model_id) or (name and known.knows_provider(prefix)):
        return None
    close = known.similar(model_id, listed)
    hint = f"; did you mean `{close}`?" if close else ""
    if slash:
        return f"`{model_id}` has a provider that is not known{hint}"
    return f"`{model_id}` is not known; expected provider/name, or a name litellm knows without a provider{hint}"


def _workspaces(parts: Parts) -> Iterator[ConfigProblem]:
    profiles = parts.profiles
    if profiles is None:
        return
    ids = _known_workspaces(profiles)
    # Without profiles nothing is private or misspelt yet: rules written for later are worth a warning.
    for where, workspace in _ruled_workspaces(parts.routing) if parts.routing and profiles.profiles else ():
        if workspace not in ids:
            yield ConfigProblem(ROUTING, where, _no_workspace(workspace, ids))
    for index, agent in enumerate(parts.agents.agents if parts.agents else ()):
        if agent.workspace is not None and agent.workspace not in ids:
            yield ConfigProblem(AGENTS, f"agents[{index}].workspace", _no_workspace(agent.workspace, ids))


def _known_workspaces(profiles: ProfilesFile) -> list[str]:
    """The profiles' ids and, after them, a default workspace that is named and not listed."""
    ids = [p.id for p in profiles.profiles]
    named = "default_workspace" in profiles.model_fields_set or not ids
    return [*ids, profiles.default_workspace] if named and profiles.default_workspace not in ids else ids


def _ruled_workspaces(routing: RoutingFile) -> Iterator[tuple[str, str]]:
    """(where, workspace) of every one a rule names."""
    for index, rule in enumerate(routing.rules):
        yield from _named_workspaces(rule.conditions, f"rules[{index}].conditions")


def _workspace_warnings(routing: RoutingFile, profiles: ProfilesFile) -> Iterator[str]:
    ids, default = [p.id for p in profiles.profiles], profiles.default_workspace
    if not ids:
        for where, workspace in _ruled_workspaces(routing):
            if workspace != default:
                yield f"{ROUTING}: {where}: {_no_workspace(workspace, [default])}; requests of it are refused"
    elif default not in ids and "default_workspace" in profiles.model_fields_set:
        yield (
            f"{PROFILES}: default_workspace: `{default}` is not in profiles ({', '.join(ids)}): until it is, it is "
            "private (block_cloud_apis: true)"
        )
    elif default not in ids and len(ids) > 1:
        yield f"{PROFILES}: no default_workspace: requests that name no workspace use the first profile, `{ids[0]}`"


def _no_workspace(name: str, ids: Sequence[str]) -> str:
    return f"no profile has the id `{name[:128]}`; {PROFILES} has {', '.join(ids)}"


def _named_workspaces(conditions: object, where: str) -> Iterator[tuple[str, str]]:
    """(where, workspace) of every one compared for equality or membership, also under any, all, not.

    Malformed conditions yield nothing here: the rules engine's own check reports them.
    """
    if isinstance(conditions, list | tuple):
        for index, part in enumerate(conditions):
            yield from _named_workspaces(part, f"{where}[{index}]")
    if not isinstance(conditions, Mapping):
        return
    for key, value in conditions.items():
        if key in ("any", "all", "not"):
            yield from _named_workspaces(value, f"{where}.{key}")
        elif key == "workspace":
            yield from _compared(value, f"{where}.workspace")


def _compared(value: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, list | tuple):
        yield from ((f"{where}[{i}]", v) for i, v in enumerate(value) if isinstance(v, str))
    elif isinstance(value, Mapping):
        for operator in ("eq", "ne", "in", "not_in"):
            if operator in value and not isinstance(value[operator], Mapping):
                yield from _compared(value[operator], f"{where}.{operator}")


def _time_zones(parts: Parts) -> Iterator[ConfigProblem]:
    named: list[tuple[str, str, str | None]] = []
    if parts.profiles:
        named += [(PROFILES, f"profiles[{i}].timezone", p.timezone) for i, p in enumerate(parts.profiles.profiles)]
    if parts.agents:
        named += [(AGENTS, f"agents[{i}].timezone", a.timezone) for i, a in enumerate(parts.agents.agents)]
    for file, where, budgets in _budget_lists(parts):
        places = [where if file == AGENTS else f"{where}[{i}]" for i in range(len(budgets))]
        named += [(file, f"{at}.timezone", b.timezone) for at, b in zip(places, budgets, strict=True)]
    for file, where, zone in named:
        if zone is not None and not _zone_exists(zone):
            close = difflib.get_close_matches(zone, sorted(available_timezones()), 1, 0.6)
            hint = f"; did you mean `{close[0]}`?" if close else ""
            yield ConfigProblem(file, where, f"is not a time zone; expected an IANA name such as Europe/Berlin{hint}")


def _zone_exists(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # a path, a folder such as `Europe`, a name nobody has
        return False
    return bool(name)


def _budgets(parts: Parts) -> Iterator[ConfigProblem]:
    for file, where, budgets in _budget_lists(parts):
        yield from _budgets_of(file, where, budgets)
    for index, agent in enumerate(parts.agents.agents if parts.agents else ()):
        if agent.budget is not None and agent.budget.agent not in (None, agent.name):
            message = "must be left out, or be the agent it stands under"
            yield ConfigProblem(AGENTS, f"agents[{index}].budget.agent", message)


def _budget_lists(parts: Parts) -> Iterator[tuple[str, str, Sequence[Budget]]]:
    """(file, where, budgets) of every list of them."""
    if parts.profiles is not None:
        yield PROFILES, "budgets", parts.profiles.budgets
        for index, profile in enumerate(parts.profiles.profiles):
            yield PROFILES, f"profiles[{index}].budgets", profile.budgets
    for index, agent in enumerate(parts.agents.agents if parts.agents else ()):
        if agent.budget is not None:
            yield AGENTS, f"agents[{index}].budget", (agent.budget,)


def _budgets_of(file: str, where: str, budgets: Sequence[Budget]) -> Iterator[ConfigProblem]:
    seen: dict[tuple[object, ...], int] = {}
    for index, budget in enumerate(budgets):
        place = where if file == AGENTS else f"{where}[{index}]"
        same = (budget.period, budget.on_limit, budget.agent, budget.task_type, budget.shadow)
        first = seen.setdefault(same, index)
        if first != index:
            message = f"{where}[{first}] already limits a {budget.period} with on_limit: {budget.on_limit}"
            yield ConfigProblem(file, place, message)
        if list(budget.alert_at) != sorted(set(budget.alert_at)):
            yield ConfigProblem(file, f"{place}.alert_at", "must rise, each fraction once: [0.5, 0.8, 1.0]")


def _rule_warnings(routing: RoutingFile) -> Iterator[str]:
    catch_all = next((i for i, rule in enumerate(routing.rules) if not rule.conditions), None)
    if catch_all is None:
        yield f"{ROUTING}: no rule has empty conditions: a request that matches none is refused (422 no_rule)"
    elif unreachable := [r.name for r in routing.rules[catch_all + 1 :]]:
        name = routing.rules[catch_all].name
        yield f"{ROUTING}: rule `{name}` matches everything, so these are never reached: {', '.join(unreachable)}"


def _address_warnings(models: ModelsFile) -> Iterator[str]:
    bases = [(f"providers.{name}", name, p.api_base) for name, p in models.providers.items()]
    bases += [(f"models[{i}]", m.id.partition("/")[0], m.api_base) for i, m in enumerate(models.models)]
    for where, provider, base in bases:
        if base is None:
            continue
        path = urlsplit(base).path
        if provider in _V1_PROVIDERS and not path:
            yield f"{MODELS}: {where}.api_base: servers that speak OpenAI's protocol mostly want it to end in /v1"
        if provider in _BARE_HOST_PROVIDERS and path.endswith("/v1"):
            yield f"{MODELS}: {where}.api_base: {provider} wants the bare host, without /v1"
    yield from (
        f"{MODELS}: trusted_hosts: {host} is a public address; private workspaces may be sent there"
        for host in _public(models.trusted_hosts)
    )


def _public(hosts: Iterable[str]) -> Iterator[str]:
    for host in hosts:
        try:
            if ipaddress.ip_address(host).is_global:
                yield host
        except ValueError:  # a name: where it leads is decided when it is resolved
            continue
