"""Four files in, one frozen Config out, or every problem at once with file, line and key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from app.config.loader import Config, load
from app.errors import ConfigError, ConfigProblem
from tests.unit.config_problems import problems_of

MODELS = "models:\n  - {id: ollama/llama3}\n"
ROUTING = "rules:\n  - {name: default, conditions: {}, model: ollama/llama3}\n"
PROFILES = "profiles:\n  - {id: personal}\n  - {id: work, block_cloud_apis: true}\n"


def write(folder: Path, **files: str | bytes) -> Path:
    """`models=…` becomes models.yaml; models and routing have a default."""
    contents: Mapping[str, str | bytes] = {"models": MODELS, "routing": ROUTING, **files}
    for name, content in contents.items():
        raw = content if isinstance(content, bytes) else content.encode()
        (folder / f"{name}.yaml").write_bytes(raw)
    return folder


def problems(folder: Path, **files: str | bytes) -> list[str]:
    return [str(p) for p in problems_of(write(folder, **files))]


def rule(conditions: str) -> str:
    return f"rules:\n  - name: r\n    model: ollama/llama3\n    conditions: {conditions}\n"


def test_the_two_required_keys_are_enough(tmp_path: Path) -> None:
    config = load(write(tmp_path))
    assert [m.id for m in config.models.models] == ["ollama/llama3"]
    assert list(config.routing.retry.backoff_seconds) == [1, 5, 15]
    assert config.default_profile.id == "default"
    assert config.profile("default") is config.default_profile
    assert not config.default_profile.block_cloud_apis
    assert config.profile("work") is None
    assert config.agents.agents == ()
    assert config.warnings == ()
    assert config.files == ("models.yaml", "routing.yaml")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.fingerprint = "x"  # type: ignore[misc]


def test_all_problems_of_all_files_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        models="models:\n  - {id: ollama/llama3, contextwindow: 1}\n  - {id: 'a b'}\n",
        routing="rules:\n  - name: r\n    conditions: {}\n    modle: x\n",
        profiles="profiles:\n  - {id: work, block_cloud_apis: perhaps}\n",
        agents="agents:\n  - {name: a, schedule: '* * * * *', workspace: [x]}\n",
    )
    assert found == [
        "models.yaml:2: models[0].contextwindow: unknown key; did you mean `context_window`?",
        "models.yaml:3: models[1].id: may not hold spaces or control characters",
        "routing.yaml:2: rules[0].model: this key is required",
        "routing.yaml:4: rules[0].modle: unknown key; did you mean `model`?",
        "profiles.yaml:2: profiles[0].block_cloud_apis: expected true or false",
        "agents.yaml:2: agents[0].workspace: expected a text, found a list",
    ]


def test_one_unreadable_file_does_not_hide_the_others(tmp_path: Path) -> None:
    found = problems(tmp_path, models="models: [", routing="rules: 3\n", profiles=b"\xff")
    assert [line.split(":")[0] for line in found] == ["models.yaml", "routing.yaml", "profiles.yaml"]


def test_an_unreadable_profiles_file_is_not_taken_for_an_absent_one(tmp_path: Path) -> None:
    """Else a broken file would turn a private workspace into an unknown one in the messages."""
    assert problems(tmp_path, profiles="profiles: [", routing=rule("{workspace: work}")) == [
        "profiles.yaml:1: YAML syntax: while parsing a flow node, did not find expected node content"
    ]


def test_missing_files(tmp_path: Path) -> None:
    found = [str(p) for p in problems_of(tmp_path)]
    assert found == [
        f"models.yaml: not found in {tmp_path}; this file is required",
        f"routing.yaml: not found in {tmp_path}; this file is required",
    ]


def test_a_yml_file_is_not_silently_ignored(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "profiles.yml").write_text(PROFILES)
    assert [str(p) for p in problems_of(tmp_path)] == ["profiles.yml: is not read; rename it to profiles.yaml"]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}"])
def test_empty_optional_files_are_as_good_as_absent(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path, profiles=text, agents=text)).default_profile.id == "default"


def test_empty_required_files_lack_their_key(tmp_path: Path) -> None:
    assert problems(tmp_path, models="", routing="# none\n") == [
        "models.yaml: models: this key is required",
        "routing.yaml: rules: this key is required",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models: []\nmodelz: []\n", "models.yaml:2: modelz: unknown key; did you mean `models`?"),
        ("- a\n", "models.yaml:1: expected a mapping, found a list"),
        ("models:\n", "models.yaml:1: models: expected a list, found nothing"),
        ("models:\n  - {id: ollama/a, context_window: 0}\n", "models[0].context_window: must be greater than 0"),
        ("models:\n  - {id: ollama/a, context_window: many}\n", "models[0].context_window: expected a whole number"),
        ("models:\n  - {id: ollama/a, input_cost_per_million: inf}\n", "expected a finite number"),
        ("models:\n  - {id: ollama/a, location: moon}\n", "must be 'in_process', 'loopback', 'trusted' or 'cloud'"),
        ("models:\n  - {id: ollama/a, context_window: 10, max_output_tokens: 11}\n", "larger than the context_window"),
        ('models:\n  - {id: "ollama/a\\x07"}\n', "models.yaml:2: models[0].id: may not hold spaces or control"),
        ("models:\n  - {id: ollama/a}\n  - {id: ollama/a}\n", "models.yaml:3: models[1].id: `ollama/a` is already"),
        ("models:\n  - {id: gpt4-o}\n", "models[0].id: `gpt4-o` is not known"),
        ("models:\n  - {id: olama/x}\n", "did you mean `ollama/x`?"),
        ("models:\n  - {id: text-embedding-3-small}\n", "is not known"),
        ("models:\n  - {id: builtin/gpt}\n", "`builtin/gpt` does not exist; built in: builtin/extractive"),
        ("models:\n  - {id: embedded/q}\n", "models[0]: `embedded/q` needs `gguf`"),
        ("models:\n  - {id: ollama/q, gguf: x.gguf}\n", "models[0].gguf: only an `embedded/…` model"),
        ("models: []\nproviders: {olama: {}}\n", "providers.olama: unknown provider; did you mean `ollama`?"),
        ("models: []\nproviders: {builtin: {}}\n", "providers.builtin: runs inside this program"),
        ("models: []\nsummarizer: nobody\n", "models.yaml:2: summarizer: `nobody` is not known"),
        ("models: []\nupgrades: [ollama/a, embedded/b]\n", "upgrades[1]: `embedded/b` is not listed in models.yaml"),
        ("models:\n  - {id: ollama/a, params: {Api_Base: 'http://x'}}\n", "models[0].params: must not hold api_base"),
    ],
)
def test_what_models_yaml_may_not_say(tmp_path: Path, text: str, expected: str) -> None:
    found = problems(tmp_path, models=text)
    assert len(found) == 1, found
    assert expected in found[0]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("127.0.0.1:11434", "http:// or https://"),
        ("ftp://host", "http:// or https://"),
        ("http://", "http:// or https://"),
        ("http://host:99999", "must be a URL"),
        ("http://[::1", "must be a URL"),
        ("http://user:password@host", "user name or a password"),
        ("http://host/?key=abc", "query or a fragment"),
        ("http://host/#x", "query or a fragment"),
        ("http://host/a b", "without spaces"),
        ("http://a\\\\@b", "without spaces, backslashes"),
    ],
)
def test_addresses_must_be_plain_urls(tmp_path: Path, base: str, expected: str) -> None:
    found = problems(tmp_path, models=f'models:\n  - {{id: ollama/llama3, api_base: "{base}"}}\n')
    assert len(found) == 1, found
    assert "models[0].api_base" in found[0]
    assert expected in found[0]
    assert "password@" not in found[0]


@pytest.mark.parametrize(
    "host",
    ["*", "*.lan", "192.168.0.0/16", "http://nas", "nas:11434", "a b", "0.0.0.0", "::", "169.254.169.254", "300.1.1.1",
     "0x7f000001", "2130706433", "", "-x", "fe80::1", "224.0.0.1"],
)  # fmt: skip
def test_trusted_hosts_are_single_hosts(tmp_path: Path, host: str) -> None:
    found = problems(tmp_path, models=f"{MODELS}trusted_hosts: ['{host}']\n")
    assert len(found) == 1, found
    assert found[0].startswith("models.yaml:3: trusted_hosts[0]: ")


def test_trusted_hosts_are_normalised(tmp_path: Path) -> None:
    models = f"{MODELS}trusted_hosts: [NAS.local., 192.168.1.5, '[FD00::1]', gpu_box]\n"
    assert load(write(tmp_path, models=models)).models.trusted_hosts == (
        "nas.local",
        "192.168.1.5",
        "fd00::1",
        "gpu_box",
    )


@pytest.mark.parametrize("model", ["ollama/any:thing", "gpt-4o", "claude-sonnet-4-5-20250929", "hosted_vllm/x/y"])
def test_models_that_need_not_be_listed(tmp_path: Path, model: str) -> None:
    write(tmp_path, routing=f"rules: [{{name: r, conditions: {{}}, model: '{model}', fallback: builtin/extractive}}]\n")
    assert load(tmp_path).routing.rules[0].fallback == ("builtin/extractive",)


def test_unknown_models_wherever_they_are_named(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        models=f"{MODELS}upgrades: [u]\nsummarizer: s\n",
        routing="local_fallback: l\nrules:\n- conditions: {}\n  name: r\n  model: m\n  fallback:\n  - ollama/x\n  - f",
        profiles="default_workspace: p\nprofiles: [{id: p, local_fallback: pl}]\n",
    )
    assert [line.split(": `")[0] for line in found] == [
        "models.yaml:3: upgrades[0]",
        "models.yaml:4: summarizer",
        "routing.yaml:1: local_fallback",
        "routing.yaml:5: rules[0].model",
        "routing.yaml:8: rules[0].fallback[1]",
        "profiles.yaml:2: profiles[0].local_fallback",
    ]


class OnlyMine:
    """Somebody else's idea of what can be resolved."""

    def knows_model(self, model_id: str) -> bool:
        return model_id == "mine"

    def knows_provider(self, name: str) -> bool:
        return False

    def similar(self, name: str, configured: Iterable[str] = ()) -> str | None:
        return None


def test_what_is_known_is_passed_in(tmp_path: Path) -> None:
    write(tmp_path, models="models: [{id: mine}]", routing=ROUTING.replace("ollama/llama3", "mine"))
    assert load(tmp_path, known=OnlyMine()).models.models[0].id == "mine"
    assert len(problems_of(tmp_path)) == 1, "the bundled data knows no such model"


def test_names_are_unique(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        routing=ROUTING + "  - {name: default, conditions: {}, model: ollama/x}\n",
        profiles="default_workspace: a\nprofiles: [{id: a}, {id: a}]\n",
        agents="agents: [{name: d, schedule: x}, {name: d, schedule: x}]\n",
    )
    assert [line.split(": `")[0] for line in found] == [
        "routing.yaml:3: rules[1].name",
        "profiles.yaml:2: profiles[1].id",
        "agents.yaml:1: agents[1].name",
    ]


@pytest.mark.parametrize(
    ("conditions", "where"),
    [
        ("{workspace: wrok}", "workspace"),
        ("{workspace: [work, wrok]}", "workspace[1]"),
        ("{workspace: {ne: wrok}}", "workspace.ne"),
        ("{workspace: {not_in: [wrok]}}", "workspace.not_in[0]"),
        ("{any: [{workspace: work}, {not: {workspace: wrok}}]}", "any[1].not.workspace"),
        ("{all: [{any: [{workspace: {in: [wrok]}}]}]}", "all[0].any[0].workspace.in[0]"),
    ],
)
def test_workspaces_named_in_conditions_exist(tmp_path: Path, conditions: str, where: str) -> None:
    assert problems(tmp_path, routing=rule(conditions), profiles=PROFILES) == [
        f"routing.yaml:4: rules[0].conditions.{where}: no profile has the id `wrok`; profiles.yaml has personal, work"
    ]


@pytest.mark.parametrize("conditions", ["{workspace: {glob: 'w*'}}", "{metadata.workspace: x}", "{workspace: 3}"])
def test_other_conditions_are_not_this_check_s_business(tmp_path: Path, conditions: str) -> None:
    assert problems(tmp_path, routing=rule(conditions), profiles=PROFILES) == []


def test_without_profiles_only_the_default_workspace_exists(tmp_path: Path) -> None:
    config = load(write(tmp_path, routing=rule("{workspace: work}")))
    assert config.profile("work") is None
    assert any("no profile has the id `work`" in w for w in config.warnings)
    assert not any("no profile" in w for w in load(write(tmp_path, routing=rule("{workspace: default}"))).warnings)


def test_a_default_workspace_that_is_not_listed_is_private(tmp_path: Path) -> None:
    agents = "agents: [{name: digest, schedule: x, workspace: hoem}]"
    config = load(write(tmp_path, profiles="default_workspace: hoem\n" + PROFILES, agents=agents))
    assert (config.default_profile.id, config.default_profile.block_cloud_apis) == ("hoem", True)
    assert any("`hoem` is not in profiles (personal, work)" in w and "private" in w for w in config.warnings)


def test_default_workspace(tmp_path: Path) -> None:
    config = load(write(tmp_path, profiles=PROFILES))
    assert config.default_profile.id == "personal"
    assert any("no default_workspace" in w for w in config.warnings)
    write(tmp_path, profiles="profiles: [{id: work}, {id: default}]")
    assert load(tmp_path).default_profile.id == "default"
    write(tmp_path, profiles="default_workspace: solo")
    assert load(tmp_path).default_profile.id == "solo"


@pytest.mark.parametrize("zone", ["Mars/X", "Europe", "../../etc/passwd", "", "Europe/Berlni"])
def test_time_zones_exist(tmp_path: Path, zone: str) -> None:
    found = problems(
        tmp_path,
        profiles=f"profiles: [{{id: default, timezone: '{zone}'}}]",
        agents=f"agents: [{{name: a, schedule: x, timezone: '{zone}'}}]",
    )
    assert [line.split(": is not")[0] for line in found] == [
        "profiles.yaml:1: profiles[0].timezone",
        "agents.yaml:1: agents[0].timezone",
    ]
    assert ("did you mean `Europe/Berlin`?" in found[0]) == (zone == "Europe/Berlni")


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("{period: fortnight, limit_usd: 1}", "must be 'hour', 'day', 'week', 'month' or 'request'"),
        ("{period: week, limit_usd: -1}", "must be greater than or equal to 0"),
        ("{period: week, limit_usd: 1.0e+300}", "must be less than or equal to 1000000000"),
        ("{period: week, limit_usd: 1, alert_at: [1.0, 0.5]}", "must rise"),
        ("{period: week, limit_usd: 1, alert_at: [0]}", "must be greater than 0"),
        ("{period: week, limit_usd: 1, on_limit: panic}", "must be 'alert', 'cheaper', 'local_only' or 'block'"),
        ("{period: week, limit_usd: 1}, {period: week, limit_usd: 2}", "already limits a week"),
    ],
)
@pytest.mark.parametrize("scope", ["budgets: [{}]", "profiles: [{{id: default, budgets: [{}]}}]"])
def test_budgets_make_sense(tmp_path: Path, scope: str, budget: str, expected: str) -> None:
    found = problems(tmp_path, profiles=scope.format(budget))
    assert len(found) == 1, found
    assert expected in found[0]


def test_budgets_of_one_period_may_differ_in_what_they_do(tmp_path: Path) -> None:
    text = "budgets: [{period: week, limit_usd: 5}, {period: week, limit_usd: 9, on_limit: block}]"
    assert load(write(tmp_path, profiles=text)).warnings == ()


SECRET = "sk-ant-REDACTED"


@pytest.mark.parametrize(
    "models",
    [
        f"models: [{{id: ollama/a, api_key: {SECRET}}}]",
        f"models: [{{id: ollama/a, api_key_env: {SECRET}}}]",
        f"models: [{{id: ollama/a, {SECRET}: x}}]",
        f"models: [{{id: {SECRET}}}]",
        f"models: [{{id: ollama/a, api_base: 'http://u:{SECRET}@h'}}]",
        f"models: {SECRET}",
        f"models: [{{id: ollama/a, context_window: {SECRET}}}]",
        f"models: [{SECRET}: [",
    ],
)
def test_no_problem_shows_a_key(tmp_path: Path, models: str) -> None:
    found = problems(tmp_path, models=models)
    assert found
    assert SECRET not in "\n".join(found)


def test_a_key_in_the_file_is_told_where_it_belongs(tmp_path: Path) -> None:
    assert (
        "environment or the system keyring"
        in problems(tmp_path, models=f"models: [{{id: ollama/a, api_key: {SECRET}}}]")[0]
    )


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (
            "providers: {openai: {api_base: 'http://127.0.0.1:1234/'}}\n",
            "providers.openai.api_base: servers that speak",
        ),
        ("providers: {ollama: {api_base: 'http://127.0.0.1:11434/v1'}}\n", "ollama wants the bare host"),
        ("trusted_hosts: [8.8.8.8]\n", "8.8.8.8 is a public address"),
    ],
)
def test_what_may_not_be_meant_is_a_warning(tmp_path: Path, models: str, expected: str) -> None:
    (warning,) = load(write(tmp_path, models=MODELS + models)).warnings
    assert expected in warning


def test_rules_that_never_or_always_match_are_a_warning(tmp_path: Path) -> None:
    (warning,) = load(write(tmp_path, routing=rule("{task_type: chat}"))).warnings
    assert "no rule has empty conditions" in warning
    late = "  - {name: late, conditions: {task_type: chat}, model: ollama/x}\n"
    (warning,) = load(write(tmp_path, routing=ROUTING + late)).warnings
    assert "never reached: late" in warning


def test_checks_of_upper_layers_are_run_and_get_lines(tmp_path: Path) -> None:
    def check(config: Config) -> Iterator[ConfigProblem]:
        for index, one in enumerate(config.routing.rules):
            yield ConfigProblem("routing.yaml", f"rules[{index}].conditions.hour", "expected a number")
            yield ConfigProblem("routing.yaml", f"rules[{one.name}].model", "by name")

    write(tmp_path, routing=rule("\n      task_type: chat\n      hour: noon"))
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, [check])
    assert [(p.line, p.message) for p in caught.value.problems] == [(3, "by name"), (6, "expected a number")]


def test_checks_are_not_run_on_what_is_broken(tmp_path: Path) -> None:
    def never(config: Config) -> Iterable[ConfigProblem]:
        raise AssertionError(config)

    assert problems_of(write(tmp_path, models="models: 3"), [never])


def test_the_fingerprint_is_of_the_contents(tmp_path: Path) -> None:
    first = load(write(tmp_path)).fingerprint
    assert load(write(tmp_path)).fingerprint == first
    assert load(write(tmp_path, models=MODELS + "# a note\n")).fingerprint != first
    assert load(write(tmp_path, agents="agents: []")).fingerprint != first


def test_gguf_paths_become_absolute(tmp_path: Path) -> None:
    models = f"{MODELS}  - {{id: embedded/a, gguf: weights/a.gguf}}\n  - {{id: embedded/b, gguf: {tmp_path}/b.gguf}}\n"
    config = load(write(tmp_path, models=models))
    assert [m.gguf for m in config.models.models] == [
        None,
        str(tmp_path / "weights" / "a.gguf"),
        str(tmp_path / "b.gguf"),
    ]
