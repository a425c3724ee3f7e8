"""What decoding has in common: bodies into records, and single wire values into column values.

Bodies come from outside: whatever is in them, only ``FetchError`` comes out, and memory stays in proportion. A
conversion never raises: it returns what its column can hold, or None.

Numbers stay what they were on the wire, integers up to 64 bits and doubles, and are written in their shortest form:
a numeric column keeps every digit that the upstream, which computes in doubles itself, has sent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from datetime import UTC, date, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from daemon.contracts import FetchError, FetchErrorKind

MAX_VALUES = 300_000
"""Of one body: 2 MiB of ``[],[],[]`` would otherwise become 50 MB of objects. Real bodies of 8 MiB hold fewer."""

MAX_TEXT = 16_384
"""Characters of one text."""

MAX_CODE = 64
"""Characters of a text that is part of a key."""

MAX_ENTRIES = 500
"""Of an object that is kept as it is."""

EASTERN = ZoneInfo("America/New_York")

_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)
_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=-]{0,19}")
_NAME = re.compile(r"\w{1,64}", re.ASCII)
_MAX_BIGINT = 2**63 - 1
_MAX_INTEGER = 2**31 - 1
_MAX_EXACT_DIGITS = 15
"""So many digits are the same number as a double."""
_YEARS = range(1800, 2201)
_FLAGS = {"true": True, "false": False}


class _Identity(msgspec.Struct):
    symbol: str


_RECORDS = msgspec.json.Decoder(list[msgspec.Raw])
_RECORD = msgspec.json.Decoder(dict[str, Any])
_IDENTITY = msgspec.json.Decoder(_Identity)


def records(body: bytes, about: str) -> list[msgspec.Raw]:
    """Split a body, which must be a JSON array, into its elements without decoding these.

    Raises:
        FetchError: MALFORMED where it is anything else, TOO_LARGE where it holds too many values.
    """
    if body.count(b",") > MAX_VALUES:
        raise FetchError(FetchErrorKind.TOO_LARGE, f"{about}: the body holds more than {MAX_VALUES} values")
    try:
        return _RECORDS.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise FetchError(FetchErrorKind.MALFORMED, f"{about}: not a JSON array: {error}"[:256]) from None


def record(raw: msgspec.Raw, about: str) -> dict[str, Any]:
    """Decode one element, which must be a JSON object.

    Raises:
        FetchError: MALFORMED where it cannot be decoded: a number of thousands of digits, deep nesting, no object.
    """
    try:
        return _RECORD.decode(raw)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise FetchError(FetchErrorKind.MALFORMED, f"{about}: {error}"[:256]) from None


def symbol_of(raw: msgspec.Raw) -> str | None:
    """Return the symbol that an element is about, whatever else it holds, or None where it names none."""
    try:
        return _IDENTITY.decode(raw).symbol
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None


def mismatch(symbols: Collection[str | None], about: str, name: str = "symbol") -> FetchError:
    """Return the error for an answer about one symbol whose elements are about others.

    Args:
        symbols: What the elements say they are about. Repeated in the message only where it looks like a symbol.
        about: What was asked for.
        name: The field that says it.
    """
    named = sorted(symbol for symbol in symbols if symbol is not None)
    if not named:
        return FetchError(FetchErrorKind.MALFORMED, f"{about}: {name} is missing or not a text")
    other = named[0] if _SYMBOL.fullmatch(named[0]) else "something else"
    return FetchError(FetchErrorKind.WRONG_SYMBOL, f"{about}: the answer is about {other}")


def number(value: Any) -> int | float | None:
    """Return a finite number, also from a quoted one, or None. An integer of at most 64 bits stays one."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not is_number(value) or abs(value) <= _MAX_BIGINT:
        return value if is_number(value) else None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def anything(value: Any) -> Any:
    """Return a value that needs more than a conversion."""
    return value


def unquoted(value: Any) -> int | float | None:
    """Return a finite number that was one on the wire too, or None."""
    return number(value) if is_number(value) else None


def whole(value: Any) -> int | None:
    """Return what fits a bigint column, a fraction cut off, or None."""
    if isinstance(value, str) and len(value) <= _MAX_EXACT_DIGITS and value.isdecimal() and value.isascii():
        return int(value)  # what comes out below, several times as fast
    if not isinstance(value, int) or isinstance(value, bool):
        value = number(value)
    converted = None if value is None else int(value)
    return converted if converted is not None and abs(converted) <= _MAX_BIGINT else None


def count(value: Any) -> int | None:
    """Return what fits an integer column, a fraction cut off, or None."""
    converted = whole(value)
    return converted if converted is not None and abs(converted) <= _MAX_INTEGER else None


def year(value: Any) -> int | None:
    """Return a year between 1800 and 2200, also from a quoted one, or None."""
    converted = whole(value)
    return converted if converted in _YEARS else None


def text(value: Any) -> str | None:
    """Return a text without the NUL characters that PostgreSQL refuses, cut at 16,384 characters, or None if empty."""
    return value[:MAX_TEXT].replace("\0", "") or None if isinstance(value, str) else None


def code(value: Any) -> str | None:
    """Return a text that can be part of a key, up to 64 printable characters without blanks around, or None."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_CODE:
        return None
    return value if value.isprintable() and value == value.strip() else None


def flag(value: Any) -> bool | None:
    """Return a boolean, also from the text of one, or None."""
    return _FLAGS.get(value.lower()) if isinstance(value, str) else value if isinstance(value, bool) else None


def day(value: Any) -> str | None:
    """Return a date as ISO text, or None for ``""`` and everything that is no date."""
    try:
        return date.fromisoformat(value).isoformat() if isinstance(value, str) else None
    except ValueError:
        return None


def utc(value: Any) -> datetime | None:
    """Return the moment that ``2026-08-26 14:13:45`` is in UTC, or None."""
    return _moment(value, UTC)


def eastern(value: Any) -> datetime | None:
    """Return the moment in UTC at which clocks in New York showed ``2025-10-31 06:01:26``, or None."""
    return _moment(value, EASTERN)


def figures(value: Any) -> dict[str, int | float | None] | None:
    """Return an object of numbers and nulls by name, with at most 500 of them, or None."""
    if not isinstance(value, dict) or len(value) > MAX_ENTRIES:
        return None
    named = {text(name): number(entry) for name, entry in value.items()}
    good = all(entry is None or number(entry) is not None for entry in value.values())
    return {name: entry for name, entry in named.items() if name is not None} if good else None


def payload(value: dict[str, Any]) -> dict[str, Any]:
    """Return a record as it is: its first 500 plainly named texts, numbers, booleans and nulls, nothing nested."""
    named = [(name, entry) for name, entry in list(value.items())[:MAX_ENTRIES] if _NAME.fullmatch(name)]
    return {name: _scalar(entry) for name, entry in named if not isinstance(entry, dict | list)}


def are_names(names: Collection[str]) -> bool:
    """Return whether a payload keeps the fields of these names."""
    return all(map(_NAME.fullmatch, names))


def is_number(value: Any) -> bool:
    """Return whether a decoded value was a number on the wire. A boolean was none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_TEXT].replace("\0", "")
    return number(value) if is_number(value) else value


def _moment(value: Any, zone: tzinfo) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is None:
            moment = datetime.combine(moment, moment.time(), zone)  # five times as fast as to replace its zone
        return None if moment is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
