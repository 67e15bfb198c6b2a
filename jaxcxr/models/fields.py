"""The fields of a network's modules: their names, and which values they take."""

from __future__ import annotations

import builtins
import dataclasses
import functools
import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any

from flax import linen as nn

from jaxcxr.errors import UserError

_LINEN_FIELDS = ("parent", "name")


@dataclass(frozen=True)
class Above:
    """Bounds of a number: above `low` and at most `high`; greater ones are probably typos."""

    low: float = 0
    high: float = 4096

    def __str__(self) -> str:
        return f" above {self.low:g}, at most {self.high:g}"


PositiveInt = Annotated[int, Above(0)]
PositiveFloat = Annotated[float, Above(0)]


def field_types(module: type[nn.Module]) -> dict[str, Any]:
    """Returns the annotation of each field that describes a module, by name."""
    names = [field.name for field in dataclasses.fields(module)]
    return {name: _hints(module).get(name, Any) for name in names if name not in _LINEN_FIELDS}


def check_fields(module: nn.Module, owner: str = "") -> None:
    """Checks each field of a module against its annotation.

    Understood are int, float, bool, str, `Literal`, tuples, unions of these, and numbers with
    bounds (`PositiveInt`, `PositiveFloat`); a value of any other annotation is accepted.

    Args:
        module: A backbone or a head.
        owner: What the message calls the module; the name of its class if empty.

    Raises:
        UserError: A value does not fit.
    """
    for name, annotation in field_types(type(module)).items():
        value = getattr(module, name)
        if not fits(value, annotation):
            owner = owner or type(module).__name__
            raise UserError(f"{owner}.{name} is {value!r}; expected {_describe(annotation)}")


def plain_type(annotation: Any) -> type:
    """Returns the type of an annotation's values other than None; object where there are many."""
    arguments = typing.get_args(annotation)
    match typing.get_origin(annotation):
        case typing.Annotated:
            return plain_type(arguments[0])
        case typing.Literal:
            kinds = {type(argument) for argument in arguments} - {types.NoneType}
        case typing.Union | types.UnionType:
            kinds = {plain_type(argument) for argument in arguments} - {types.NoneType}
        case origin:
            kinds = {origin or annotation}
    kind = kinds.pop() if len(kinds) == 1 else object
    return kind if isinstance(kind, type) else object


@functools.cache
def _hints(module: type[nn.Module]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(module, include_extras=True)
    except NameError:  # annotations with names of the function that the class is defined in
        return {}


def fits(value: Any, annotation: Any) -> bool:
    """Returns whether a value can stand where an annotation is; see `check_fields`."""
    arguments = typing.get_args(annotation)
    match typing.get_origin(annotation) or annotation:
        case typing.Annotated:
            limits = [bound for bound in arguments if isinstance(bound, Above)]
            within = (limit.low < value <= limit.high for limit in limits)
            return fits(value, arguments[0]) and all(within)
        case typing.Literal:
            return value in arguments
        case typing.Union | types.UnionType:
            return any(fits(value, choice) for choice in arguments)
        case builtins.tuple:
            if not isinstance(value, tuple) or arguments[1:] != (Ellipsis,):
                return isinstance(value, tuple)
            return all(fits(each, arguments[0]) for each in value)
        case builtins.bool | builtins.str:
            return isinstance(value, annotation)
        case builtins.int:
            return isinstance(value, int) and not isinstance(value, bool)
        case builtins.float:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return is_number and math.isfinite(value)
        case types.NoneType:
            return value is None
    return True


def _describe(annotation: Any) -> str:
    arguments = typing.get_args(annotation)
    match typing.get_origin(annotation):
        case typing.Annotated:
            limits = [str(bound) for bound in arguments if isinstance(bound, Above)]
            return _describe(arguments[0]) + "".join(limits)
        case typing.Literal:
            return " or ".join(map(repr, arguments))
        case typing.Union | types.UnionType:
            return " or ".join(map(_describe, arguments))
    return getattr(annotation, "__name__", None) or str(annotation)
