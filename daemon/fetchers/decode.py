"""What decoding has in common: bodies into records, records into wire structs, and wire values into column values.

Bodies come from outside: whatever is in them, only ``FetchError`` comes out, and memory stays in proportion. A field
of a wire struct is ``Any`` where only its conversion decides what it may hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from datetime import date
from typing import Any, TypeVar

import msgspec

from daemon.contracts import FetchError, FetchErrorKind

MAX_VALUES = 300_000
"""Of one body: 2 MiB of ``[],[],[]`` would otherwise become 50 MB of objects. Real bodies of 8 MiB hold fewer."""

MAX_TEXT = 16_384
"""Characters of one text."""

_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)
_SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=-]{0,19}")
_MAX_BIGINT = 2**63 - 1
_FLAGS = {"true": True, "false": False}

_Wire = TypeVar("_Wire", bound=msgspec.Struct)


class _Identity(msgspec.Struct):
    symbol: str


_RECORDS = msgspec.json.Decoder(list[msgspec.Raw])
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


def record(raw: msgspec.Raw, decoder: msgspec.json.Decoder[_Wire], about: str) -> _Wire:
    """Decode one element.

    Raises:
        FetchError: MALFORMED where it cannot be decoded: a number of thousands of digits, deep nesting, no object.
    """
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise FetchError(FetchErrorKind.MALFORMED, f"{about}: {error}"[:256]) from None


def symbol_of(raw: msgspec.Raw) -> str | None:
    """Return the symbol that an element is about, whatever else it holds, or None where it names none."""
    try:
        return _IDENTITY.decode(raw).symbol
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None


def mismatch(symbols: Collection[str | None], about: str) -> FetchError:
    """Return the error for an answer about one symbol whose elements are about others.

    Args:
        symbols: What the elements say they are about. Repeated in the message only where it looks like a symbol.
        about: What was asked for.
    """
    named = sorted(symbol for symbol in symbols if symbol is not None)
    if not named:
        return FetchError(FetchErrorKind.MALFORMED, f"{about}: symbol is missing or not a text")
    other = named[0] if _SYMBOL.fullmatch(named[0]) else "something else"
    return FetchError(FetchErrorKind.WRONG_SYMBOL, f"{about}: the answer is about {other}")


def number(value: Any) -> float | None:
    """Return a finite number, also from a quoted one, or None."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if not is_number(value):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def whole(value: Any) -> int | None:
    """Return what fits a bigint column, a fraction cut off, or None."""
    if not isinstance(value, int) or isinstance(value, bool):
        value = number(value)
    converted = None if value is None else int(value)
    return converted if converted is not None and abs(converted) <= _MAX_BIGINT else None


def text(value: Any) -> str | None:
    """Return a text without the NUL characters that PostgreSQL refuses, cut at 16,384 characters, or None if empty."""
    return value[:MAX_TEXT].replace("\0", "") or None if isinstance(value, str) else None


def flag(value: Any) -> bool | None:
    """Return a boolean, also from the text of one, or None."""
    return _FLAGS.get(value.lower()) if isinstance(value, str) else value if isinstance(value, bool) else None


def day(value: Any) -> str | None:
    """Return a date as ISO text, or None for ``""`` and everything that is no date."""
    try:
        return date.fromisoformat(value).isoformat() if isinstance(value, str) else None
    except ValueError:
        return None


def is_number(value: Any) -> bool:
    """Return whether a decoded value was a number on the wire. A boolean was none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
