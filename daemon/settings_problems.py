"""From what is wrong with the settings to one message that an operator can act on.

Each problem is one line that names an environment variable and says what to do. Values are repeated only where they are
too short to be a key, and never for a setting that holds a secret or a URL.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from daemon.contracts import ConfigurationError

PREFIX = "REFRESHD_"

_ALSO_ALLOWED = ("REFRESHD_DEVSTACK_", "REFRESHD_RECORDINGS")
"""Names of the development stack and of the tests, which the daemon does not read."""

_LONGEST_SHOWN = 20

_RULES = {
    "bool_parsing": "must be true or false",
    "byte_size": "must be a size such as 20GB, 500MB or 2000000",
    "byte_size_unit": "must be a size such as 20GB, 500MB or 2000000",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "greater_than": "must be more than {gt:,.10g}",
    "greater_than_equal": "must be at least {ge:,.10g}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of reasonable size",
    "less_than": "must be less than {lt:,.10g}",
    "less_than_equal": "must be at most {le:,.10g}",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting as the operator knows it."""

    name: str
    """Of the environment variable."""
    description: str
    is_shown: bool
    """Whether a short value may be repeated in a message."""


def misspelt(given: Iterable[str], known: Collection[str]) -> list[str]:
    """Return a problem for every name in ``given`` that looks like a setting of refreshd and is none."""
    strangers = sorted(
        name
        for name in {name.upper() for name in given} - set(known)
        if name.startswith(PREFIX) and not name.startswith(_ALSO_ALLOWED)
    )
    return [f"{name} is not a setting of refreshd: {_advice(name, known)}" for name in strangers]


def _advice(name: str, known: Collection[str]) -> str:
    by_suffix = {candidate.removeprefix(PREFIX): candidate for candidate in known}
    closest = difflib.get_close_matches(name.removeprefix(PREFIX), by_suffix, n=1, cutoff=0.7)
    return f"did you mean {by_suffix[closest[0]]}?" if closest else "remove it"


def invalid(error: ValidationError, variables: Mapping[str, Variable]) -> list[str]:
    """Return a problem for every value that was refused or is missing.

    Args:
        error: What the model raised.
        variables: By the location that the error names: a field's name or its alias.
    """
    problems = []
    for detail in error.errors(include_url=False):
        if detail["type"] == "default_factory_not_called":
            continue  # it follows from another problem, which is in the list
        problems.append(_problem(variables[str(detail["loc"][0])], detail["type"], detail["input"], detail.get("ctx")))
    return problems


def _problem(variable: Variable, kind: str, value: Any, context: Mapping[str, Any] | None) -> str:
    if kind == "missing":
        return f"{variable.name} is not set: {variable.description}"
    rule = _RULES.get(kind, "cannot be used")
    rule = rule.format_map(context) if context else rule
    if not variable.is_shown or not isinstance(value, str) or len(value) > _LONGEST_SHOWN:
        return f"{variable.name} {rule}"
    return f"{variable.name} is {value!r}: {rule}"


def refusal(problems: Iterable[str]) -> ConfigurationError:
    """Return the one error that lists all ``problems``."""
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return ConfigurationError(f"the configuration cannot be used:\n{lines}")
