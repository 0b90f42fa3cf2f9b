"""Read the configuration folder, check it across files, and return it as one frozen `Config`.

All problems of all files are collected before anything is raised: whoever edits four files wants one list.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from pydantic import ValidationError

from app.config import yamlfile
from app.config.crosscheck import Parts, cross_check, find_warnings
from app.config.pricemap import BundledModels, KnownModels
from app.config.problems import schema_problems
from app.config.redact import redact_patterns
from app.config.schema import AgentsFile, Entry, ModelEntry, ModelsFile, Profile, ProfilesFile, RoutingFile
from app.config.yamlfile import KeyPath, YamlFile, YamlRefused
from app.errors import ConfigError, ConfigProblem, UnknownWorkspace

REQUIRED_FILES = ("models.yaml", "routing.yaml")
OPTIONAL_FILES = ("profiles.yaml", "agents.yaml")
FILES = REQUIRED_FILES + OPTIONAL_FILES

E = TypeVar("E", bound=Entry)


@dataclass(frozen=True, slots=True)
class Config:
    """What the YAML files say, checked. Never changed: a reload makes another one."""

    models: ModelsFile
    routing: RoutingFile
    profiles: ProfilesFile
    agents: AgentsFile
    fingerprint: str
    """SHA-256 (hex) of the files' names and bytes."""
    path: Path
    """The folder."""
    files: tuple[str, ...]
    """The files that were there and said something."""
    warnings: tuple[str, ...] = ()
    """Sentences about what works but may not be meant."""

    def profile(self, workspace: str) -> Profile | None:
        """The profile of a workspace, or None: then the workspace is unknown and must be refused."""
        return next((p for p in self.profiles.profiles if p.id == workspace), None)

    def known_profile(self, workspace: str | None) -> Profile:
        """The profile of a workspace; None: the default one's. Raises `UnknownWorkspace`: an unknown one is never
        treated as public."""
        name = self.profiles.default_workspace if workspace is None else workspace
        profile = self.profile(name)
        if profile is None:
            known = ", ".join(p.id for p in self.profiles.profiles)
            raise UnknownWorkspace(f"there is no workspace {name!r}; profiles.yaml has: {known}", field="workspace")
        return profile

    def is_private(self, workspace: str) -> bool:
        """Whether nothing of the workspace may leave the machine. One that nobody knows (any more) is no public one."""
        profile = self.profile(workspace)
        return profile is None or profile.block_cloud_apis

    @property
    def default_profile(self) -> Profile:
        """The profile of requests that name no workspace."""
        profile = self.profile(self.profiles.default_workspace)
        assert profile is not None, "the loader checks that the default workspace exists"
        return profile


Check: TypeAlias = Callable[[Config], Iterable[ConfigProblem]]
"""A check of an upper layer, run when the files are well-formed. `ConfigProblem.where` is a key path such as
`rules[2].conditions.task_type`; the loader finds the line for it."""


def load(
    path: Path,
    checks: Sequence[Check] = (),
    *,
    known: KnownModels | None = None,
    must_exist: Collection[str] = REQUIRED_FILES,
) -> Config:
    """The configuration of folder `path`.

    `known` says which model names can be resolved without being listed (default: litellm's bundled data); `must_exist`
    are the files that may be neither absent nor empty. Raises `ConfigError` with every problem found.
    """
    config, problems = _examine(path, checks, known or BundledModels(), must_exist)
    if config is None or problems:
        raise ConfigError(problems)
    return config


def _examine(
    path: Path, checks: Sequence[Check], known: KnownModels, must_exist: Collection[str]
) -> tuple[Config | None, list[ConfigProblem]]:
    files, problems = _read_all(path, must_exist)
    models = _validate(ModelsFile, files.get("models.yaml"), problems)
    routing = _validate(RoutingFile, files.get("routing.yaml"), problems)
    profiles = _validate(ProfilesFile, files.get("profiles.yaml", _EMPTY), problems)
    agents = _validate(AgentsFile, files.get("agents.yaml", _EMPTY), problems)
    parts = Parts(models, routing, profiles, agents)
    problems += cross_check(parts, known)
    config = None
    # The upper layers' checks see well-formed values only; what one file gets wrong does not hide the others' cross
    # checks, which run on whatever could be read.
    if models and routing and profiles and agents and not problems:
        config = _assemble(path, files, models, routing, profiles, agents)
        found = [problem for check in checks for problem in check(config)]
        problems += [problem for problem in found if not problem.warning]
        told = [str(_place(problem, files)) for problem in found if problem.warning]
        config = replace(config, warnings=(*config.warnings, *told))
    return config, sorted((_place(p, files) for p in problems), key=_order)


def _assemble(
    path: Path,
    files: Mapping[str, YamlFile],
    models: ModelsFile,
    routing: RoutingFile,
    profiles: ProfilesFile,
    agents: AgentsFile,
) -> Config:
    warnings = tuple(find_warnings(models, routing, profiles))
    profiles = _with_default(profiles)
    models = models.model_copy(update={"models": tuple(_absolute_gguf(m, path) for m in models.models)})
    there = tuple(name for name, file in files.items() if file.data is not None)
    return Config(models, routing, profiles, agents, _fingerprint(files), path, there, warnings)


_EMPTY = YamlFile("", None, b"")


def _read_all(path: Path, must_exist: Collection[str]) -> tuple[dict[str, YamlFile], list[ConfigProblem]]:
    files: dict[str, YamlFile] = {}
    problems: list[ConfigProblem] = []
    for name in FILES:
        try:
            files[name] = file = yamlfile.read(path / name)
            if file.data is None and name in must_exist and name in OPTIONAL_FILES:
                # Half a save, or a full disk: without its profiles a private workspace would be a new, public one.
                problems.append(ConfigProblem(name, "", "said something and is empty now; restart if that is meant"))
        except FileNotFoundError:
            problems += _absent(path, name, must_exist)
        except YamlRefused as refused:
            problems += refused.problems
            # Refused, not absent: nothing may be concluded from what it does not say.
            files[name] = replace(_EMPTY, name=name, data=_UNREADABLE)
    return files, problems


_UNREADABLE = object()


def _absent(path: Path, name: str, must_exist: Collection[str]) -> list[ConfigProblem]:
    twin = (path / name).with_suffix(".yml")
    if twin.exists():
        # Silently ignoring a profiles.yml would make a private workspace unknown, and a typo a surprise.
        return [ConfigProblem(twin.name, "", f"is not read; rename it to {name}")]
    if name in REQUIRED_FILES:
        return [ConfigProblem(name, "", f"not found in {path}; this file is required")]
    if name in must_exist:
        return [ConfigProblem(name, "", f"was there and is gone from {path}; put it back, or restart without it")]
    return []


def _validate(kind: type[E], file: YamlFile | None, problems: list[ConfigProblem]) -> E | None:
    """The file as its schema's object; None where it is absent or wrong (`problems` then say why)."""
    if file is None or file.data is _UNREADABLE:
        return None
    data = {} if file.data is None else file.data
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems += schema_problems(kind, file, error)
        return None


def _with_default(profiles: ProfilesFile) -> ProfilesFile:
    """Without profiles there is one, named like the default workspace; without a default it is the first profile.

    A default that is named and not among the profiles is one more, and private: a name misspelt, or taken off the list,
    must not make public what was not.
    """
    default = profiles.default_workspace
    if not profiles.profiles:
        return profiles.model_copy(update={"profiles": (Profile(id=default),)})
    if any(p.id == default for p in profiles.profiles):
        return profiles
    if "default_workspace" in profiles.model_fields_set:
        unlisted = Profile(id=default, block_cloud_apis=True)
        return profiles.model_copy(update={"profiles": (*profiles.profiles, unlisted)})
    return profiles.model_copy(update={"default_workspace": profiles.profiles[0].id})


def _absolute_gguf(model: ModelEntry, folder: Path) -> ModelEntry:
    if model.gguf is None:
        return model
    return model.model_copy(update={"gguf": str((folder / os.path.expanduser(model.gguf)).resolve())})


def _fingerprint(files: Mapping[str, YamlFile]) -> str:
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name}\0{len(file.raw)}\0".encode())
        digest.update(file.raw)
    return digest.hexdigest()


_STEP = re.compile(r"\[(\d+)\]|\[([^\]]*)\]|([^.\[\]]+)")


def _place(problem: ConfigProblem, files: Mapping[str, YamlFile]) -> ConfigProblem:
    """The problem with its line, where it has none, and without anything that has the shape of a key."""
    line = problem.line
    if line is None and problem.where and problem.file in files:
        line = files[problem.file].line_of(_key_path(problem.where, files[problem.file].data))
    message, where = redact_patterns(problem.message), redact_patterns(problem.where)
    return replace(problem, message=message, where=where, line=line)


def _key_path(where: str, data: object) -> KeyPath:
    """`rules[2].model` or `rules[default].model` as a path; unknown names end it."""
    path: list[str | int] = []
    here = data
    for index, name, key in _STEP.findall(where):
        step: str | int = int(index) if index else key or _index_of(name, here)
        path.append(step)
        here = _child(here, step)
    return tuple(path)


def _child(data: object, step: str | int) -> object:
    if isinstance(data, dict) and isinstance(step, str):
        return data.get(step)
    if isinstance(data, list) and isinstance(step, int) and 0 <= step < len(data):
        return data[step]
    return None


def _index_of(name: str, entries: object) -> int:
    """Of the entry called `name` in a list; -1, which has no line, where there is none."""
    listed = entries if isinstance(entries, list) else []
    return next((i for i, e in enumerate(listed) if isinstance(e, dict) and name in (e.get("name"), e.get("id"))), -1)


def _order(problem: ConfigProblem) -> tuple[int, int]:
    rank = FILES.index(problem.file) if problem.file in FILES else -1
    return rank, problem.line or 0
