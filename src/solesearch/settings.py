"""params.yaml: one home for every value; a notebook reads the sections of its own stage and no other."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

from solesearch.errors import InputError
from solesearch.paths import repository_root


def load_parameters() -> dict[str, Any]:
    """Return params.yaml as a dictionary; raises InputError when it is not valid YAML."""
    path = repository_root() / "params.yaml"
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise InputError(f"params.yaml{line}: not valid YAML; {getattr(error, 'problem', error)}") from error


def load_section(profile: str, section: str, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return one section of a profile, `overrides` ({"section.key": value}) laid over it.

    Raises InputError for an unknown profile, section or overridden key.
    """
    parameters = load_parameters()
    names = sorted(key for key, value in parameters.items() if isinstance(value, dict))
    if profile not in names:
        raise InputError(f"profile {profile!r} has no section in params.yaml; there are {', '.join(names)}")
    if section not in parameters[profile]:
        known = ", ".join(parameters[profile])
        raise InputError(f"params.yaml: profile {profile} has no section {section!r}; it has {known}")
    values = dict(parameters[profile][section])
    for name, value in (overrides or {}).items():
        head, _, key = name.partition(".")
        if head == section and key not in values:
            raise InputError(f"override {name!r}: params.yaml has no such key below {profile}.{section}")
        if head == section:
            values[key] = value
    return values


def fill(kind: type, values: dict[str, Any], *, where: str):
    """Return dataclass `kind` built from `values`; raises InputError naming missing and unknown keys."""
    wanted = {field.name for field in dataclasses.fields(kind)}
    missing, unknown = sorted(wanted - values.keys()), sorted(values.keys() - wanted)
    if missing or unknown:
        raise InputError(
            f"params.yaml, {where}: missing {', '.join(missing) or 'none'}; "
            f"unknown {', '.join(unknown) or 'none'}"
        )
    return kind(**values)
