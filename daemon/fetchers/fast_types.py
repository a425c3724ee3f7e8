"""What the decoder itself can check of a record: for each conversion the type that goes its fast way.

A type lets through less than its conversion takes, never more. What it lets through is a column's value already, or
becomes one by the same conversion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from daemon.fetchers import decode

if TYPE_CHECKING:
    from daemon.fetchers.shape import Convert, Field, Shape

_BIGINT = 2**62
_INTEGER = 2**30
"""Numbers beyond may not fit their column: they go the slow way."""

_DAY_LENGTH = len("2026-08-10")


def _integers(low: float, high: float) -> Any:
    least, most = (math.ceil(min(max(end, -_BIGINT), _BIGINT)) for end in (low, high))
    return Annotated[int, Meta(ge=least, lt=most)]


def _numbers(low: float = -math.inf, high: float = math.inf) -> Any:
    """Return the type of the finite numbers in [low, high), of integers those that fit a bigint."""
    least, most = (end if math.isfinite(end) else None for end in (low, high))
    return _integers(low, high) | Annotated[float, Meta(ge=least, lt=most)]


def _texts(least: int, most: int) -> Any:
    return Annotated[str, Meta(min_length=least, max_length=most)]


_RANGES: Mapping[Convert, tuple[float, float]] = {
    decode.number: (-math.inf, math.inf),
    decode.unquoted: (-math.inf, math.inf),
    decode.whole: (-_BIGINT, _BIGINT),
    decode.anything: (-math.inf, math.inf),
}
"""By conversion what its column holds, where it takes any number."""


def _types(least: int) -> Mapping[Convert, Any]:
    """Return by conversion the type of its values, where a text has so many characters at least."""
    figures = GenericAlias(dict, (_texts(least, decode.MAX_TEXT), _numbers() | None))
    return {
        decode.number: _numbers(),
        decode.unquoted: _numbers(),
        decode.whole: _numbers(-_BIGINT, _BIGINT) | _texts(1, decode.MAX_CODE),
        decode.count: _integers(-_INTEGER, _INTEGER),
        decode.year: _integers(1800, 2201) | _texts(1, decode.MAX_CODE),
        decode.text: _texts(least, decode.MAX_TEXT),
        decode.code: _texts(1, decode.MAX_CODE),
        decode.flag: bool,
        decode.day: _texts(least and _DAY_LENGTH, _DAY_LENGTH),
        decode.utc: _texts(least, decode.MAX_CODE),
        decode.eastern: _texts(least, decode.MAX_CODE),
        decode.figures: Annotated[figures, Meta(max_length=decode.MAX_ENTRIES)],
    }


_TYPES, _TYPES_WITH_EMPTY = _types(1), _types(0)
_FLAT = frozenset(_TYPES) - {decode.figures}
"""Conversions of which what has been decoded is a scalar."""


def record_type(shape: Shape, *, has_empty: bool) -> type[msgspec.Struct] | None:
    """Return the type of a record with which nothing is odd, None where the shape says what no type can.

    Its fields have the names of the columns; where the record is kept as it is, those that they have on the wire.

    Args:
        shape: What the records are.
        has_empty: Whether ``""`` is let through, which is null where a column does not hold it.
    """
    if not _can_be_typed(shape):
        return None
    types = _TYPES_WITH_EMPTY if has_empty else _TYPES
    required = [(known.name, known.column, _type(shape, known, types)) for known in shape.identity]
    optional = [(known.name, known.column, _or_null(_type(shape, known, types))) for known in shape.optional]
    figures = [(name, name, _or_null(_numbers(*shape.limits.get(name, ())))) for name in shape.figures]
    fields: list[Any] = []
    names: dict[str, str] = {}
    for wire, column, kind in required + optional + figures:
        name = wire if shape.payload else column
        names[name] = wire
        fields.append((name, kind, None) if wire in shape.sometimes else (name, kind))
    return msgspec.defstruct("Record", fields, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False)


def least_bytes(shape: Shape) -> int:
    """Return how long a record is at least that has the type: every field is named, in quotes, and has a value."""
    return sum(len(f'"{name}":0,') for name in shape.usual)


def _type(shape: Shape, known: Field, types: Mapping[Convert, Any]) -> Any:
    limits = shape.limits.get(known.name)
    if limits is None:
        return types.get(known.convert, Any)
    if known.convert is decode.count:
        return _integers(max(-_INTEGER, limits[0]), min(_INTEGER, limits[1]))
    low, high = _RANGES[known.convert]
    return _numbers(max(low, limits[0]), min(high, limits[1]))


def _or_null(kind: Any) -> Any:
    return kind if kind is Any else kind | None


def _can_be_typed(shape: Shape) -> bool:
    known = (*shape.identity, *shape.optional)
    names = [each.name for each in known] + list(shape.figures)
    columns = [each.column for each in known] + ([shape.payload] if shape.payload else [])
    return (
        shape.names == set(names)
        and all(len(set(distinct)) == len(distinct) for distinct in (names, columns))
        and all(name.isidentifier() for name in (names if shape.payload else columns))
        and all(each.convert in _RANGES or each.convert is decode.count for each in known if each.name in shape.limits)
        and (_keeps_all(shape) if shape.payload else not shape.figures)
    )


def _keeps_all(shape: Shape) -> bool:
    """Return whether the payload of every record that has the type is the whole record."""
    return (
        not shape.sometimes
        and len(shape.names) <= decode.MAX_ENTRIES
        and decode.are_names(shape.names)
        and all(each.convert in _FLAT for each in (*shape.identity, *shape.optional))
    )
