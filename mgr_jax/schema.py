"""Dataclass trees whose fields carry their own constraints: `check` and `build` read them.

A constraint is a predicate of the value, and the end of the message `<field> is <value>; ...`.
"""

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any

from mgr_jax.errors import UserError

Constraint = tuple[Callable[[Any], bool], str]

_AT_LEAST_ZERO = (lambda value: 0 <= value < math.inf, "it must be 0 or more and finite")
_POSITIVE = (lambda value: 0 < value < math.inf, "it must be greater than 0 and finite")


def constrained(default: Any, *constraints: Constraint) -> Any:
    """Return a dataclass field with `default` and `constraints`."""
    return dataclasses.field(default=default, metadata={"constraints": constraints})


def one_of(default: str, choices: tuple[str, ...]) -> Any:
    """Return a field that takes one of `choices`."""
    return constrained(
        default, (lambda value: value in choices, f"it must be one of {', '.join(choices)}")
    )


def positive(default: float) -> Any:
    """Return a field that takes finite numbers greater than 0."""
    return constrained(default, _POSITIVE)


def at_least_zero(default: float) -> Any:
    """Return a field that takes finite numbers of 0 or more."""
    return constrained(default, _AT_LEAST_ZERO)


def up_to(default: float, most: float) -> Any:
    """Return a field that takes numbers from 0 to `most`."""
    return constrained(default, (lambda value: 0 <= value <= most, f"it must be 0 to {most:g}"))


def seed() -> Any:
    """Return a field that takes the seeds of `jax.random.key`, which drops all but 32 bits."""
    return constrained(0, _AT_LEAST_ZERO, (lambda value: value < 2**32, "it must be below 2**32"))


def fraction(default: float) -> Any:
    """Return a field that takes numbers between 0 and 1, without both."""
    return constrained(default, (lambda value: 0 < value < 1, "it must lie between 0 and 1"))


def share(default: float) -> Any:
    """Return a field that takes numbers from 0 to below 1."""
    return constrained(default, (lambda value: 0 <= value < 1, "it must be 0 or more and below 1"))


def penalties(default: tuple[float, ...]) -> Any:
    """Return a field that takes one or more finite numbers of 0 or more."""
    return constrained(default, _each(_AT_LEAST_ZERO, "give one or more penalties of 0 or more"))


def positives(default: tuple[float, ...]) -> Any:
    """Return a field that takes one or more finite numbers greater than 0."""
    return constrained(default, _each(_POSITIVE, "give one or more values greater than 0"))


def _each(constraint: Constraint, requirement: str) -> Constraint:
    return lambda values: bool(values) and all(map(constraint[0], values)), requirement


def check(tree: Any, path: str = "") -> None:
    """Check the fields of `tree`, a dataclass instance, against their constraints.

    Raises:
      UserError: for the first value that is refused, with the dotted name of its field.
    """
    for field in dataclasses.fields(tree):
        value = getattr(tree, field.name)
        if dataclasses.is_dataclass(value):
            check(value, f"{path}{field.name}.")
        for accepts, requirement in field.metadata.get("constraints", ()):
            if not accepts(value):
                shown = repr(value) if isinstance(value, str) else value
                raise UserError(f"{path}{field.name} is {shown}; {requirement}")


def build(cls: Any, values: Any, path: str = "") -> Any:
    """Return the dataclass tree `cls` of nested dicts; missing fields have their defaults.

    Raises:
      UserError: for an unknown field or a wrong type, with the dotted name of the field.
    """
    if not isinstance(values, dict):
        raise UserError(f"config field {path.rstrip('.') or 'config'} must be a mapping")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    arguments = {}
    for name, value in values.items():
        if name not in fields:
            raise UserError(
                f"config field {path}{name} is unknown; remove it or correct its name"
                f"{did_you_mean(name, fields)}"
            )
        kind: Any = fields[name].type
        if dataclasses.is_dataclass(kind):
            arguments[name] = build(kind, value, f"{path}{name}.")
        elif kind == tuple[float, ...]:
            if not isinstance(value, list | tuple) or not all(_is(v, float) for v in value):
                raise UserError(f"config field {path}{name} must be a list of numbers")
            arguments[name] = tuple(float(v) for v in value)
        elif not _is(value, kind):
            raise UserError(f"config field {path}{name} is {value!r}; it must be {kind.__name__}")
        else:
            arguments[name] = kind(value)
    return cls(**arguments)


def has_types(value: Any) -> bool:
    """Return whether the texts and numbers of a dataclass instance are of their fields' types."""
    return all(
        _is(getattr(value, field.name), field.type)
        for field in dataclasses.fields(value)
        if field.type in (str, int, float)
    )


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return `" (did you mean 'NAME'?)"` for the name closest to `name`, or "" if none is close."""
    matches = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int) and abs(value) >= 2**63:
        return False
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)
