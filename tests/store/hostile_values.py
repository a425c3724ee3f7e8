"""Values that no caller should send, as text that PostgreSQL casts to the type of an argument."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from hypothesis import strategies as st

JOB = "00000000-0000-4000-8000-000000000001"
LEASE = "00000000-0000-4000-8000-000000000002"

Text = st.SearchStrategy[str | None]

_WORDS = ["AAPL", "MSFT", "GLOBAL", "quote", "profile", "fmp", "test/1", "test/2", "s", "user:1", "changed", "empty"]
_ODD_WORDS = [
    "",
    " ",
    "/",
    "x" * 10_000,
    "".join(
        hashlib.sha256(bytes([number])).hexdigest() for number in range(160)
    ),  # too long for an index, compressed too
    "é" * 200,
    "\x01\x7f\n\t",
    "a'b\"c\\d",
    "'; drop table leases_v2; --",
    "%s%n$1{}",
    "\u202eLPAA",
    "\U0001f600",
    "NULL",
    "aapl",
]
_JSON_KEYS = st.sampled_from(["symbol", "price", "user_id", "data_type", "fetched_at", "volume", "x"])
_JSON_SCALARS: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 0, -1, 1.5, 1e300, 10**30, "AAPL", "quote", "", "x" * 10_000, "1e400", "NaN", "user:1", {}, []]
)
_ROWS = st.lists(
    st.one_of(
        st.dictionaries(_JSON_KEYS, _JSON_SCALARS, max_size=4), _JSON_SCALARS, st.lists(_JSON_SCALARS, max_size=2)
    ),
    max_size=3,
)
_DEEP = "[" * 900 + "]" * 900


def _or_null(values: Sequence[str]) -> Text:
    return st.sampled_from([None, *values])


_JSON: Text = st.one_of(
    st.sampled_from([None, "null", "1", '"text"', "{}", "[]", "[null]", "[[]]", '[{"symbol": null}]', _DEEP]),
    _ROWS.map(json.dumps),
)
_SCALARS: dict[str, Text] = {
    "boolean": _or_null(["true", "false"]),
    "integer": _or_null(["0", "1", "3", "-1", "-2", "100", "2147483647", "-2147483648"]),
    "bigint": _or_null(["0", "1", "2", "-1", "1000", "9223372036854775807", "-9223372036854775808"]),
    "double precision": _or_null(["0", "1", "-1", "30", "1e308", "-1e308", "1e-320", "NaN", "Infinity", "-Infinity"]),
    "uuid": _or_null([JOB, LEASE, "00000000-0000-0000-0000-000000000000"]),
    "timestamp with time zone": _or_null(
        ["now", "tomorrow", "2000-01-01", "infinity", "-infinity", "4713-01-01 BC", "294276-12-31"]
    ),
    "interval": _or_null(["0", "5 s", "-5 s", "178000000 years", "-178000000 years", "1 day -1000000 hours"]),
    "text": st.one_of(_or_null(_WORDS), _or_null(_ODD_WORDS)),
    "jsonb": _JSON,
}


def _array(items: Sequence[str | None] | None) -> str | None:
    if items is None:
        return None
    quoted = ("NULL" if i is None else '"' + i.replace("\\", "\\\\").replace('"', '\\"') + '"' for i in items)
    return "{" + ",".join(quoted) + "}"


_GOOD = {
    "p_job_id": [JOB],
    "p_lease_id": [LEASE],
    "p_symbol": ["AAPL", "MSFT"],
    "p_data_type": ["quote", "profile"],
    "p_upstream": ["fmp", "tripped"],
    "p_outcome": ["changed"],
    "p_id": ["1"],
    "p_priority": ["1"],
    "p_viewers": ["1"],
    "p_gain": ["60"],
    "p_calls": ["1"],
    "p_bytes": ["1000"],
    "p_source": ["s"],
    "p_retryable": ["true"],
    "p_seconds": ["30"],
    "p_instance": ["test"],
}


def values_of(name: str, type_name: str) -> Text:
    """Return what an argument can be given: often what is right by its name, else good and bad values of its type.

    Raises:
        KeyError: When no values are known for the type: write some.
    """
    items = _SCALARS[type_name.removesuffix("[]")]
    singular = name if name in _GOOD else name.removesuffix("s").replace("prioritie", "priority")
    right: Text = st.sampled_from(_GOOD[singular]) if singular in _GOOD else items
    if not type_name.endswith("[]"):
        return st.one_of(right, items)
    return st.one_of(
        right.map(lambda value: _array([value])),
        items.map(lambda value: _array([value])),
        st.lists(st.one_of(right, items), max_size=3).map(_array),
        st.none(),
    )


def calls_of(arguments: Sequence[tuple[str, str]]) -> st.SearchStrategy[list[str | None]]:
    """Return lists of values for a function with these arguments, each a name and a type."""
    return st.tuples(*(values_of(name, type_name) for name, type_name in arguments)).map(list)
