"""Which changes of PostgreSQL a channel has asked for, and the form in which it gets them."""

import json
import operator
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Change:
    """One changed row."""

    schema: str
    table: str
    type: str
    """INSERT, UPDATE or DELETE."""
    columns: list[dict[str, str]]
    """``{"name", "type"}`` in the order of the table."""
    record: dict[str, Any] | None
    old_record: dict[str, Any] | None
    """The key of the row as it was, after UPDATE and DELETE."""
    commit_timestamp: str

    def payload(self, binding_ids: list[int]) -> dict[str, Any]:
        """Return what a channel is sent of which these bindings match."""
        data: dict[str, Any] = {
            "schema": self.schema,
            "table": self.table,
            "type": self.type,
            "commit_timestamp": self.commit_timestamp,
            "columns": self.columns,
            "errors": None,
        }
        if self.record is not None:
            data["record"] = self.record
        if self.old_record is not None:
            data["old_record"] = self.old_record
        return {"ids": binding_ids, "data": data}


@dataclass(frozen=True, slots=True)
class Binding:
    """One entry of a join's ``postgres_changes``. What is missing matches everything."""

    id: int
    event: str
    schema: str
    table: str | None
    filter: str | None

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> "Binding":
        """Read a binding as a client sends it."""
        table, condition = raw.get("table"), raw.get("filter")
        return cls(
            id=binding_id(raw),
            event=str(raw.get("event", "*")).upper(),
            schema=str(raw.get("schema", "public")),
            table=table if isinstance(table, str) and table != "*" else None,
            filter=condition if isinstance(condition, str) and condition else None,
        )

    @property
    def is_known(self) -> bool:
        """Whether the filter is one that this server can apply: one condition, by comparison or ``in``."""
        return self.filter is None or _parts(self.filter)[1] in {*_COMPARISONS, "in"}

    def matches(self, change: Change) -> bool:
        """Whether the channel is to be sent ``change`` for this binding."""
        return (
            self.event in {"*", change.type}
            and self.schema == change.schema
            and self.table in {None, change.table}
            and (self.filter is None or _holds(self.filter, change.record or change.old_record or {}))
        )


def binding_id(raw: Mapping[str, Any]) -> int:
    """Return the id that events of this binding carry: the same for the same binding."""
    return zlib.crc32(json.dumps(raw, sort_keys=True).encode())


def _holds(condition: str, record: Mapping[str, Any]) -> bool:
    """Whether ``column=operator.value`` holds; values are compared as the kind of thing that the column holds."""
    column, name, text = _parts(condition)
    value = record.get(column)
    if value is None:
        return False
    if name == "in":
        return any(_like(value, item) == value for item in text.strip("()").split(","))
    try:
        return _COMPARISONS[name](value, _like(value, text))
    except TypeError:  # an array or an object is neither less nor more than a text
        return False


def _parts(condition: str) -> tuple[str, str, str]:
    column, _, rest = condition.partition("=")
    name, _, text = rest.partition(".")
    return column, name, text


def _like(value: Any, text: str) -> Any:
    """Return ``text`` as the kind of thing that ``value`` is."""
    if isinstance(value, bool):
        return text == "true"
    if isinstance(value, int | float):
        try:
            return float(text)
        except ValueError:
            return float("nan")
    return text
