"""Financial statements: a row of ``financial_statements`` for each fiscal year, with all three statements as they came.

Endpoints: ``income-statement``, ``balance-sheet-statement`` and ``cash-flow-statement`` of the Financial Modeling Prep
``stable`` API, each ``?symbol=AAPL&period=annual&limit=40``: three calls, merged by (date, period). Amounts are in
``reportedCurrency``. ``fiscalYear`` is a quoted number, ``acceptedDate`` the wall clock of New York; the newest one of
all is the source timestamp. No statement has every figure: the records are kept as they are, as JSON.

Three answers have three ETags and a pair has one: they are asked for unconditionally. A fiscal year that is in none of
three whole histories is removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from daemon.contracts import Fetched, FetchError, FetchErrorKind, FetchRequest, Oddity, Upstream
from daemon.fetchers import decode
from daemon.fetchers.conditional import History
from daemon.fetchers.shape import Reading, Shape, fields, read_list
from daemon.fetchers.statement_fields import BALANCE_SHEET_STATEMENT, CASH_FLOW_STATEMENT, INCOME_STATEMENT

LIMIT = 40
"""Fiscal years: some 90 kB for each statement. An answer of so many may be cut."""

MAX_BYTES = 8 * 1024 * 1024

Key = tuple[str, str]
"""End and name of a fiscal period."""


def _statement(payload: str, figures: str) -> Shape:
    return Shape(
        identity=(*fields(decode.code, "symbol period"), *fields(decode.day, "date")),
        optional=(
            *fields(decode.year, "fiscalYear"),
            *fields(decode.text, "reportedCurrency cik"),
            *fields(decode.day, "filingDate"),
            *fields(decode.eastern, "acceptedDate"),
        ),
        figures=figures.split(),
        payload=payload,
    )


STATEMENTS: Mapping[str, Shape] = {
    "income-statement": _statement("income_statement", INCOME_STATEMENT),
    "balance-sheet-statement": _statement("balance_sheet_statement", BALANCE_SHEET_STATEMENT),
    "cash-flow-statement": _statement("cash_flow_statement", CASH_FLOW_STATEMENT),
}
"""By endpoint, in the order in which they are asked for."""

PAYLOADS = tuple(shape.payload for shape in STATEMENTS.values() if shape.payload)


def parse(bodies: Mapping[str, bytes], symbol: str) -> Fetched:
    """Return the fiscal years of ``symbol``, no rows where it files no statements.

    A year of which a statement could not be read is left out: its row would overwrite what is stored with nothing.

    Args:
        bodies: By endpoint its answer.
        symbol: What was asked for.

    Raises:
        FetchError: WRONG_SYMBOL, MALFORMED or TOO_LARGE where nothing of one of the answers can be used.
    """
    readings = [
        read_list(bodies[endpoint], shape, f"{endpoint} symbol={symbol}", {"symbol": symbol})
        for endpoint, shape in STATEMENTS.items()
    ]
    merged = _merge(readings)
    is_complete = all(reading.is_complete for reading in readings)
    if not is_complete:
        merged = [row for row in merged if all(row[payload] is not None for payload in PAYLOADS)]
        if not merged:
            raise FetchError(FetchErrorKind.MALFORMED, f"financial-statements symbol={symbol}: no year is whole")
    is_whole = is_complete and all(len(reading.rows) < LIMIT for reading in readings)
    return Fetched(
        rows=merged,
        source_timestamp=_agreed_timestamp(readings),
        oddities=_oddities(readings),
        replaces=("symbol", "period") if is_whole else None,
    )


class FinancialStatementsFetcher:
    """Fetches statements, one symbol at a time in three calls."""

    data_type = "financial-statements"
    batch_size = 1

    def __init__(self) -> None:
        self._history = History(LIMIT)

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch the three statements of one symbol.

        Raises:
            FetchError: Where a call failed, or its answer cannot be used.
            CallRefusedError: Where a call was not made.
        """
        (request,) = requests
        params, ask = {"symbol": request.symbol, "period": "annual"}, self._history.get
        bodies = {
            endpoint: (await ask(upstream, endpoint, params, max_bytes=MAX_BYTES)).body for endpoint in STATEMENTS
        }
        found = parse(bodies, request.symbol)
        return {request.symbol: replace(found, replaces=None) if self._history.is_cut else found}


def _merge(readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """Return one row for each period, newest first. Of what all statements say, the first that knows it counts."""
    merged: dict[Key, dict[str, Any]] = {}
    for reading in readings:
        for row in reading.rows:
            known = merged.setdefault((row["date"], row["period"]), dict.fromkeys(PAYLOADS))
            accepted = [row["accepted_date"], known.get("accepted_date")]
            known.update({column: value for column, value in row.items() if known.get(column) is None})
            known["accepted_date"] = max((moment for moment in accepted if moment), default=None)
    rows = [merged[key] for key in sorted(merged, reverse=True)]
    for row in rows:
        row["accepted_date"] = row["accepted_date"] and row["accepted_date"].isoformat()
    return rows


def _agreed_timestamp(readings: Sequence[Reading]) -> datetime | None:
    """Return when the newest statement was accepted, None until all three have come so far.

    A statement that comes later than the others, with the same date, must not look as if nothing had changed.
    """
    newest = {
        max((row["accepted_date"] for row in reading.rows if row["accepted_date"]), default=None)
        for reading in readings
    }
    return newest.pop() if len(newest) == 1 else None


def _oddities(readings: Sequence[Reading]) -> Sequence[Oddity]:
    return tuple(oddity for reading in readings for oddity in reading.oddities())
