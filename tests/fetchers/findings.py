"""What a fetch found out, taken apart."""

from __future__ import annotations

from typing import Any

from daemon.contracts import Fetched, FetchError, OddityKind


def rows_of(found: Fetched | FetchError) -> list[dict[str, Any]]:
    """Return the rows, of which there must be some word."""
    assert isinstance(found, Fetched)
    assert found.rows is not None
    return [dict(row) for row in found.rows]


def row_of(found: Fetched | FetchError) -> dict[str, Any]:
    """Return the one row."""
    (row,) = rows_of(found)
    return row


def odd(found: Fetched | FetchError, kind: OddityKind) -> dict[str, int]:
    """Return by field in how many records there was an oddity of a kind."""
    assert isinstance(found, Fetched)
    return {oddity.field: oddity.records for oddity in found.oddities if oddity.kind is kind}
