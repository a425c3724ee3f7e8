"""The shape of records: which fields a kind of record has, what each becomes, and what is odd about an answer.

A fetcher names every field once, by the conversion that it needs; its column is the same name in snake case unless it
says otherwise. The identity must be there and convert. Everything else may be null, ``""`` or absent, and is null where
it cannot be converted. A record without an identity, or with an insane value, is quarantined: left out and told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from daemon.contracts import Fetched, FetchError, FetchErrorKind, Oddity, OddityKind
from daemon.fetchers import decode
from daemon.fetchers.fast_path import FastPath

MAX_RECORDS = 5_000
"""Of one answer. The longest lists that are known have a few hundred."""

MAX_ODDITIES = 20
"""Of each kind in one answer."""

MAX_SAMPLE = 256
MAX_FIELD = 64

Convert = Callable[[Any], Any]

_OWN_WORDS = re.compile(r" is (missing or |not in \[)")
_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)")


class Field(NamedTuple):
    """A field on the wire, the column that holds it, and what makes the one out of the other."""

    name: str
    column: str
    convert: Convert


def fields(convert: Convert, names: str, **columns: str) -> tuple[Field, ...]:
    """Return fields that convert alike.

    Args:
        convert: Returns what the column can hold, or None.
        names: Their names on the wire, separated by blanks.
        columns: By the name on the wire, columns with names of their own.
    """
    return tuple(Field(name, columns.get(name) or _snake(name), convert) for name in names.split())


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of record."""

    identity: Sequence[Field]
    optional: Sequence[Field] = ()
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By field the range [low, high), outside of which a figure is insane."""
    sometimes: frozenset[str] = frozenset()
    """Fields that many answers do without."""
    figures: Collection[str] = frozenset()
    """Known fields that have no column of their own and should be numbers."""
    payload: str | None = None
    """The column that holds the record as it is."""
    names: frozenset[str] = field(init=False)
    """Every field that is known."""
    usual: frozenset[str] = field(init=False)
    """Every field that an answer should have."""
    fast: FastPath = field(init=False, repr=False, compare=False)
    """Reads the answers with which nothing is odd."""

    def __post_init__(self) -> None:
        named = frozenset(known.name for known in (*self.identity, *self.optional))
        object.__setattr__(self, "names", named.union(self.figures, self.sometimes))
        object.__setattr__(self, "usual", self.names - self.sometimes)
        object.__setattr__(self, "fast", FastPath(self, MAX_RECORDS))


class Reading:
    """Reads the records of one answer, and remembers what is odd about them.

    Args:
        shape: What the records are.
        about: What was asked for, for messages.
        expected: By field, the one value that is asked for: a record with another is about something else.
    """

    def __init__(self, shape: Shape, about: str, expected: Mapping[str, str] | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self._shape = shape
        self._about = about
        self._expected = expected or {}
        self._absent = shape.usual
        self._oddities: dict[tuple[OddityKind, str], Oddity] = {}
        self._failure: FetchError | None = None
        self._any = False

    def take(self, raw: msgspec.Raw) -> None:
        """Add the row of one record, or quarantine it."""
        try:
            self.rows.append(self.read(raw, self._about))
        except FetchError as error:
            self._failure = self._failure or error
            self._note(OddityKind.QUARANTINED_RECORD, _reason(error, self._about), raw)

    def read(self, raw: msgspec.Raw, about: str) -> dict[str, Any]:
        """Return the row of one record.

        Raises:
            FetchError: MALFORMED, WRONG_SYMBOL or INSANE_VALUE where the record cannot be used.
        """
        record = decode.record(raw, about)
        self._identify(record, about)
        self._any = True
        self._absent = self._absent.difference(record)
        for name in sorted(record.keys() - self._shape.names)[:MAX_ODDITIES]:
            self._note(OddityKind.UNKNOWN_FIELD, name)
        row = {known.column: self._required(record, known, about) for known in self._shape.identity}
        for name, column, convert in self._shape.optional:
            value = record.get(name)
            row[column] = None if value is None else self._converted(name, value, convert)
        self._keep(record, row)
        self._check_limits(record, about)
        return row

    def oddities(self) -> tuple[Oddity, ...]:
        """Return what was odd, once everything has been read."""
        if not self._any and not self._oddities:
            return ()
        missing = sorted(self._absent)[:MAX_ODDITIES] if self._any else ()
        return (*self._oddities.values(), *(Oddity(OddityKind.MISSING_FIELD, name) for name in missing))

    @property
    def is_complete(self) -> bool:
        """Whether no record was quarantined."""
        return self._failure is None

    def finish(self) -> None:
        """Raise why the records cannot be used where none of them can.

        Raises:
            FetchError: The failure of the first one.
        """
        if self._failure is not None and not self.rows:
            raise self._failure

    def fetched(self, *, replaces: Sequence[str] | None = None, last: bool = False) -> Fetched:
        """Return what was found out.

        Args:
            replaces: As in ``Fetched``; nothing is removed after an empty answer or one with a quarantined record.
            last: Whether there is one row at most, the last one.
        """
        rows = tuple(self.rows[-1:] if last else self.rows)
        replaces = replaces if rows and self.is_complete else None
        return Fetched(rows=rows, oddities=self.oddities(), replaces=replaces)

    def _identify(self, record: Mapping[str, Any], about: str) -> None:
        for name, wanted in self._expected.items():
            value = record.get(name)
            if value != wanted:
                raise decode.mismatch([value if isinstance(value, str) else None], about, name)

    def _required(self, record: Mapping[str, Any], known: Field, about: str) -> Any:
        value = known.convert(record.get(known.name))
        if value is None:
            message = f"{about}: {known.name} is missing or cannot be used"
            raise FetchError(FetchErrorKind.MALFORMED, message)
        return value

    def _converted(self, name: str, value: Any, convert: Convert) -> Any:
        converted = convert(value)
        if converted is None and value != "":
            self._note(OddityKind.CHANGED_TYPE, name, value)
        return converted

    def _keep(self, record: dict[str, Any], row: dict[str, Any]) -> None:
        if self._shape.payload is None:
            return
        for name in self._shape.figures:
            if record.get(name) is not None:
                self._converted(name, record[name], decode.number)
        row[self._shape.payload] = decode.payload(record)

    def _check_limits(self, record: Mapping[str, Any], about: str) -> None:
        for name, (low, high) in self._shape.limits.items():
            value = decode.number(record.get(name))
            if value is not None and not low <= value < high:
                raise FetchError(FetchErrorKind.INSANE_VALUE, f"{about}: {name} is not in [{low:,.0f}, {high:,.0f})")

    def _note(self, kind: OddityKind, name: str, found: Any = "") -> None:
        key = (kind, _printable(name, MAX_FIELD))
        known = self._oddities.get(key)
        if known is not None:
            self._oddities[key] = known._replace(records=known.records + 1)
        elif sum(other is kind for other, _ in self._oddities) < MAX_ODDITIES:
            self._oddities[key] = Oddity(*key, sample=_sample(found))


def read_list(body: bytes, shape: Shape, about: str, expected: Mapping[str, str] | None = None) -> Reading:
    """Read an answer that is a list of records of one shape.

    Args:
        body: The answer.
        shape: What its records are.
        about: What was asked for, for messages.
        expected: By field, the one value that is asked for.

    Raises:
        FetchError: MALFORMED or TOO_LARGE where the body as a whole cannot be used; the failure of the first record
            where none can be.
    """
    reading = Reading(shape, about, expected)
    rows = shape.fast.rows(body, expected or {})
    if rows is not None:
        reading.rows = rows
        return reading
    raws = decode.records(body, about)
    if len(raws) > MAX_RECORDS:
        raise FetchError(FetchErrorKind.TOO_LARGE, f"{about}: the answer has more than {MAX_RECORDS} records")
    for raw in raws:
        reading.take(raw)
    reading.finish()
    return reading


def _snake(name: str) -> str:
    return _WORD_START.sub("_", name).lower()


def _reason(error: FetchError, about: str) -> str:
    """Return in our own words why a record is no good; the words of the decoder could repeat what was found."""
    if error.kind is FetchErrorKind.WRONG_SYMBOL:
        return "about something else"
    text = str(error).removeprefix(f"{about}: ")
    return text if _OWN_WORDS.search(text) else "not readable"


def _sample(found: Any) -> str:
    if isinstance(found, msgspec.Raw):
        return _printable(bytes(memoryview(found)[: 4 * MAX_SAMPLE]).decode(errors="replace"), MAX_SAMPLE)
    if isinstance(found, dict | list):
        return "an object" if isinstance(found, dict) else "an array"
    return _printable(found if isinstance(found, str) else repr(found), MAX_SAMPLE)


def _printable(text: str, length: int) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:length])
