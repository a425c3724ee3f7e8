"""The fast path: a whole answer into rows in one go, where nothing about it is odd.

It applies where every record is an object of exactly the fields that are known, each with a value of the plainest type
that its column takes, or null, and each within its limits. The decoder checks that itself (`fast_types`); what it
cannot check or convert is settled here, by the conversions of the slow path. For everything else, from a new field to a
record of another symbol, there are no rows: then the records are read one by one. That slow path alone knows what is
odd and what an error says. Nothing is remembered from one answer to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import asdict, astuple

from daemon.fetchers import decode
from daemon.fetchers.fast_types import least_bytes, record_type

if TYPE_CHECKING:
    from daemon.fetchers.shape import Convert, Shape

Rows = list[dict[str, Any]]

_INTEGERS: frozenset[Convert] = frozenset({decode.whole, decode.year})
_READY: frozenset[Convert] = frozenset({decode.number, decode.unquoted, decode.count, decode.flag, decode.code})
"""Conversions that leave a value of their type as it is; codes are looked at together."""
_READY_UNLESS_EMPTY: frozenset[Convert] = frozenset({decode.text, decode.figures, decode.day})
"""Those that do where there is no ``""``; days are looked at together."""


class _Step(NamedTuple):
    """A column whose values are converted one by one."""

    column: str
    convert: Convert
    is_required: bool
    ready: type | None
    """Values of this type are what the column holds."""


class _Pass:
    """One way through a body: with ``""`` or without."""

    def __init__(self, shape: Shape, *, has_empty: bool) -> None:
        record, known = record_type(shape, has_empty=has_empty), (*shape.identity, *shape.optional)
        self._decoder = None if record is None else msgspec.json.Decoder(list[record])  # type: ignore[valid-type]
        self._build = _kept(shape) if shape.payload else asdict
        self._codes = {each.name: each.column for each in known if each.convert is decode.code}
        self._days = [each.column for each in known if each.convert is decode.day and not has_empty]
        self._steps = _steps(shape, _READY if has_empty else _READY | _READY_UNLESS_EMPTY)

    def rows(self, body: bytes, expected: Mapping[str, str]) -> Rows | None:
        """Return what the slow path would, or None where it has to be asked."""
        try:
            rows = [*map(self._build, self._decoder.decode(body))] if self._decoder else None
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return None
        return rows if rows is not None and self._settles(rows, expected) else None

    def _settles(self, rows: Rows, expected: Mapping[str, str]) -> bool:
        """Return whether nothing is odd about rows of decoded values, and convert what has to be converted."""
        if not expected.keys() <= self._codes.keys():
            return False
        for name, column in self._codes.items():
            values, wanted = [row[column] for row in rows], expected.get(name)
            if wanted is not None and values.count(wanted) < len(values):
                return False
            if not _are_codes(values if wanted is None else [wanted]):
                return False
        if self._days and not _are_days([row[column] for row in rows for column in self._days]):
            return False
        return _convert(rows, self._steps)


class FastPath:
    """Reads the answers with which nothing is odd.

    Args:
        shape: What their records are.
        most_records: Of one answer.
    """

    def __init__(self, shape: Shape, most_records: int) -> None:
        self._most_records = most_records
        self._small_bytes = most_records * least_bytes(shape)
        self._usual = _Pass(shape, has_empty=False)
        self._with_empty = _Pass(shape, has_empty=True)

    def rows(self, body: bytes, expected: Mapping[str, str] = MappingProxyType({})) -> Rows | None:
        """Return what the slow path would, or None where it has to be asked.

        Args:
            body: The answer.
            expected: By field, the one value that is asked for.
        """
        if self._is_large(body) or (b"\\" in body and b"\\u0000" in body):  # looking for one byte alone is fast
            return None
        rows = self._usual.rows(body, expected)
        return self._with_empty.rows(body, expected) if rows is None and b'""' in body else rows

    def _is_large(self, body: bytes) -> bool:
        """Return whether a body may hold more than the slow path lets through; nested objects count as records."""
        return (len(body) > self._small_bytes and body.count(b"{") > self._most_records) or (
            len(body) > decode.MAX_VALUES and body.count(b",") > decode.MAX_VALUES
        )


def _steps(shape: Shape, ready: frozenset[Convert]) -> list[_Step]:
    return [
        _Step(known.column, known.convert, is_required, int if known.convert in _INTEGERS else None)
        for is_required, several in ((True, shape.identity), (False, shape.optional))
        for known in several
        if known.convert not in ready and not (known.convert is decode.anything and known.name in shape.limits)
    ]


def _kept(shape: Shape) -> Callable[[msgspec.Struct], dict[str, Any]]:
    """Return what makes the row of a record that is kept as it is: its columns come first, then its figures."""
    columns = [known.column for known in (*shape.identity, *shape.optional)]
    row_type, size = msgspec.defstruct("Row", [*columns, str(shape.payload)]), len(columns)
    return lambda record: asdict(row_type(*astuple(record)[:size], asdict(record)))


def _are_codes(values: list[str | None]) -> bool:
    """Return whether all are codes. Null is none."""
    codes = [*filter(None, values)]
    joined = "".join(codes)
    return (joined.isprintable() and " " not in joined) or all(map(decode.code, codes))


def _are_days(values: list[str | None]) -> bool:
    """Return whether all texts of ten characters are dates as they are stored. Null is none."""
    days = [*filter(None, values)]
    try:
        return "W" not in "".join(days) and all(map(date.fromisoformat, days))  # W: by the number of the week
    except ValueError:
        return False


def _convert(rows: Rows, steps: Sequence[_Step]) -> bool:
    """Convert columns; return whether nothing of them is odd."""
    for column, convert, is_required, ready in steps:
        for row in rows:
            value = row[column]
            if type(value) is ready or (value is None and not is_required):
                continue
            row[column] = converted = convert(value)
            if converted is None and (is_required or value != ""):
                return False
    return True
