"""A routing.yaml that is not in force: read and checked like the one that is, against the models and profiles there."""

from __future__ import annotations

from pydantic import ValidationError

from app.config import yamlfile
from app.config.crosscheck import Parts, cross_check
from app.config.loader import Config
from app.config.pricemap import BundledModels
from app.config.problems import schema_problems
from app.config.schema import RoutingFile
from app.config.yamlfile import YamlRefused
from app.errors import ConfigError

NAME = "routing.yaml"


def proposed_routing(raw: bytes, config: Config) -> RoutingFile:
    """The text of a routing.yaml as what it says. Raises `ConfigError` with every problem found, the conditions'
    excepted: those are found by `app.routing.rules.compile_rules`."""
    try:
        file = yamlfile.parse(NAME, raw)
    except YamlRefused as refused:
        raise ConfigError(refused.problems) from None
    try:
        routing = RoutingFile.model_validate({} if file.data is None else file.data)
    except ValidationError as error:
        raise ConfigError(schema_problems(RoutingFile, file, error)) from None
    found = cross_check(Parts(config.models, routing, config.profiles, config.agents), BundledModels())
    if problems := [problem for problem in found if problem.file == NAME]:
        raise ConfigError(problems)
    return routing
