"""Documentation that fails when it is wrong: every setting, key, command, condition, operator, in both directions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from app.cli.root import COMMANDS, build
from app.config import schema
from app.config.loader import load
from app.routing.conditions import FIELDS, check_conditions
from app.routing.operators import OPERATORS
from app.settings import Settings

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "guide"
CONFIGURATION = GUIDE / "configuration.md"
ARCHITECTURE = ROOT / "docs" / "ARCHITECTURE.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]

SECTIONS: list[tuple[str, type[schema.Entry]]] = [
    ("models.yaml", schema.ModelsFile),
    ("models.yaml/providers", schema.ProviderEntry),
    ("models.yaml/models", schema.ModelEntry),
    ("routing.yaml", schema.RoutingFile),
    ("routing.yaml/rules", schema.Rule),
    ("routing.yaml/retry", schema.Retry),
    ("routing.yaml/timeouts", schema.Timeouts),
    ("routing.yaml/context", schema.ContextSettings),
    ("routing.yaml/summary", schema.SummarySettings),
    ("routing.yaml/retrieval", schema.RetrievalSettings),
    ("profiles.yaml", schema.ProfilesFile),
    ("profiles.yaml/profiles", schema.Profile),
    ("profiles.yaml/budgets", schema.Budget),
    ("profiles.yaml/notifications", schema.NotificationSettings),
    ("profiles.yaml/webhook", schema.WebhookSettings),
    ("profiles.yaml/unknown_price", schema.CountAs),
    ("profiles.yaml/usage", schema.UsageSettings),
    ("agents.yaml", schema.AgentsFile),
    ("agents.yaml/agents", schema.AgentEntry),
]
"""Heading (and heading below it) of the configuration page, and what its table lists."""


def tables(page: Path) -> dict[str, list[list[str]]]:
    """The rows of a page's tables by heading, `level two/level three`; cells without their backticks."""
    found: dict[str, list[list[str]]] = {}
    above = here = ""
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("## "):
            above = here = line.removeprefix("## ")
        elif line.startswith("### "):
            here = f"{above}/{line.removeprefix('### ')}"
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.setdefault(here, []).append([cell.replace("`", "") for cell in cells])
    return found


def first_cells(page: Path, heading: str) -> list[str]:
    return [row[0] for row in tables(page).get(heading, [])]


@pytest.mark.parametrize(("heading", "entry"), SECTIONS, ids=[heading for heading, _ in SECTIONS])
def test_every_key_of_the_files_and_no_other(heading: str, entry: type[schema.Entry]) -> None:
    assert sorted(first_cells(CONFIGURATION, heading)) == sorted(entry.model_fields)


def test_every_object_of_the_files_has_its_table() -> None:
    kinds = {kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, schema.Entry)}
    # The overrides of a rule are those of `timeouts`; the page says so.
    assert kinds - {schema.Entry, schema.TimeoutOverrides} == {entry for _, entry in SECTIONS}
    assert schema.TimeoutOverrides.model_fields.keys() == schema.Timeouts.model_fields.keys()


@pytest.mark.parametrize(("heading", "entry"), SECTIONS, ids=[heading for heading, _ in SECTIONS])
def test_what_is_required_and_plain_defaults(heading: str, entry: type[schema.Entry]) -> None:
    for name, default, *_ in tables(CONFIGURATION)[heading]:
        field = entry.model_fields[name]
        assert (default == "required") == field.is_required(), name
        if isinstance(field.default, bool | int | float) and not field.is_required():
            assert default == str(field.default).lower(), name


@pytest.mark.parametrize(("page", "heading"), [(CONFIGURATION, "Environment"), (README, "Settings")])
def test_every_variable_and_no_other(page: Path, heading: str) -> None:
    expected = {f"SIDECAR_{name.upper()}": field for name, field in Settings.model_fields.items()}
    rows = {row[0]: row[1] for row in tables(page)[heading]}
    assert sorted(rows) == sorted(expected)
    for name, field in expected.items():
        if isinstance(field.default, str | int):
            assert rows[name] == str(field.default), name


def test_every_variable_a_page_mentions_exists() -> None:
    known = {f"SIDECAR_{name.upper()}" for name in Settings.model_fields}
    for page in PAGES:
        assert set(re.findall(r"\bSIDECAR_[A-Z_]+\b", page.read_text("utf-8"))) <= known, page.name


# -- the command line --------------------------------------------------------------------------------------------


def subcommands(command: str) -> set[str]:
    found = typer.main.get_command(build(COMMANDS))
    return set(getattr(getattr(found, "commands", {}).get(command), "commands", {}))


def test_every_command_and_no_other() -> None:
    rows = {row[0].removeprefix("llm-sidecar "): " ".join(row[1:]) for row in tables(CONFIGURATION)["The command line"]}
    assert sorted(rows) == sorted(COMMANDS)
    for command, text in rows.items():
        assert all(name in text for name in subcommands(command)), command


def test_every_command_a_page_mentions_exists() -> None:
    for page in PAGES:
        for command, argument in re.findall(r"\bllm-sidecar ([a-z]+)(?: ([a-z]+)\b)?", code_of(page)):
            assert command in COMMANDS, f"{page.name}: {command}"
            if argument and subcommands(command):
                assert argument in subcommands(command), f"{page.name}: {command} {argument}"


def code_of(page: Path) -> str:
    """What stands in backticks or in a fenced block: what somebody would type."""
    text = page.read_text("utf-8")
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))


def test_every_make_target_a_page_mentions_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)`", page.read_text("utf-8"), re.MULTILINE)) <= {
            pair for target in targets for pair in ((target, ""), ("", target))
        }, page.name


# -- routing -----------------------------------------------------------------------------------------------------


def test_every_condition_and_operator_and_no_other() -> None:
    rows = first_cells(GUIDE / "routing.md", "Conditions")
    assert sorted(rows) == sorted([*FIELDS, "metadata.*", *OPERATORS])


# -- snippets and links ------------------------------------------------------------------------------------------

SNIPPETS = [
    pytest.param(page, snippet, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, snippet in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL), start=1)
]
MINIMAL = {
    "models.yaml": 'models: [{id: "ollama/llama3:8b", context_window: 8192}]\n',
    "routing.yaml": 'rules: [{name: default, conditions: {}, model: "ollama/llama3:8b"}]\n',
}


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 7


@pytest.mark.parametrize(("page", "snippet"), SNIPPETS)
def test_a_snippet_loads_as_the_file_it_names(page: Path, snippet: str, tmp_path: Path) -> None:
    """A snippet begins with `# <file>` and is that whole file."""
    name = snippet.splitlines()[0].removeprefix("# ")
    assert name in (*MINIMAL, "profiles.yaml", "agents.yaml"), f"{page.name}: say which file it is"
    for file, content in {**MINIMAL, name: snippet}.items():
        (tmp_path / file).write_text(content, "utf-8")
    load(tmp_path, [check_conditions])


def test_every_part_of_the_program_is_on_the_map_and_no_other() -> None:
    program = ROOT / "app"
    rows = tables(ARCHITECTURE)["The house"]
    parts = {p.name for p in program.iterdir() if not p.name.startswith("__")}
    assert {part for part, *_ in rows} == parts
    for part, _, begin in rows:
        assert (program / part / begin).exists(), f"{part}: {begin}"


def test_every_module_the_architecture_names_exists() -> None:
    page = ARCHITECTURE.read_text("utf-8")
    modules = [
        f"/{path.relative_to(ROOT).as_posix()}" for room in ("app", "tests") for path in ROOT.glob(f"{room}/**/*.py")
    ]
    named = set(re.findall(r"[\w/]*\w\.py\b", page))
    assert {name for name in named if not any(module.endswith(f"/{name}") for module in modules)} == set()


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
