"""What a fault makes of the content of an answer; what happens to an answer on its way is in ``delivery.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from http.client import responses

from devstack.upstream.faults import Fault, FaultKind
from devstack.upstream.wire import (
    BANDWIDTH_REACHED,
    HTML_TYPE,
    LIMIT_REACHED,
    RESTRICTED,
    SUSPENDED,
    TEXT_TYPE,
    Reply,
    Row,
    encode,
    error_reply,
    etag,
    invalid_key,
    limit_reached,
    rows_reply,
)

PAGE = "<!DOCTYPE html>\n<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"
PLACEHOLDER = "a number goes here"


def spoil(fault: Fault, rows: list[Row]) -> Reply:
    """Return the answer that a fault makes of good rows."""
    spoiler = SPOILERS.get(fault.kind)
    return rows_reply(rows) if spoiler is None else spoiler(fault, rows)


def _page(status: int, title: str) -> Reply:
    return Reply(status, PAGE.format(title).encode(), HTML_TYPE)


def _status(fault: Fault, _rows: list[Row]) -> Reply:
    page = _page(fault.status, f"{fault.status} {responses.get(fault.status, 'Unknown')}")
    return replace(page, headers={} if fault.retry_after is None else {"Retry-After": fault.retry_after})


def _bandwidth(fault: Fault, _rows: list[Row]) -> Reply:
    headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    return error_reply(429, BANDWIDTH_REACHED, headers)


def _truncated(_fault: Fault, rows: list[Row]) -> Reply:
    body = encode(rows)
    return Reply(200, body[: len(body) // 2], headers={"ETag": etag(body)})


def _wrong_symbol(fault: Fault, rows: list[Row]) -> Reply:
    return rows_reply([row | {"symbol": fault.wrong_symbol} if fault.hits_row(row) else row for row in rows])


def _empty(fault: Fault, rows: list[Row]) -> Reply:
    return rows_reply([row for row in rows if not fault.hits_row(row)])


def _fields(fault: Fault, rows: list[Row]) -> Reply:
    changed = [row | fault.fields if fault.hits_row(row) else row for row in rows]
    kept = [
        {name: value for name, value in row.items() if name not in fault.without or not fault.hits_row(row)}
        for row in changed
    ]
    return rows_reply(kept)


def _with_number(fault: Fault, rows: list[Row], text: str) -> Reply:
    """Write ``text``, which no encoder would, for the first figure of every row."""
    spoilt = [row | {_first_figure(row): PLACEHOLDER} if fault.hits_row(row) else row for row in rows]
    return Reply(200, encode(spoilt).replace(f'"{PLACEHOLDER}"'.encode(), text.encode()))


def _first_figure(row: Row) -> str:
    figures = (name for name, value in row.items() if isinstance(value, int | float) and not isinstance(value, bool))
    return next(figures, "figure")


def _deep(fault: Fault, _rows: list[Row]) -> Reply:
    return Reply(200, b"[" * fault.sized() + b"]" * fault.sized())


def _huge_headers(fault: Fault, rows: list[Row]) -> Reply:
    return Reply(200, encode(rows), headers={"X-Padding": "x" * fault.sized()})


SPOILERS: Mapping[FaultKind, Callable[[Fault, list[Row]], Reply]] = {
    FaultKind.STATUS: _status,
    FaultKind.RATE_LIMIT: lambda fault, _rows: limit_reached(fault.retry_after),
    FaultKind.BANDWIDTH: _bandwidth,
    FaultKind.LIMIT_IN_BODY: lambda _fault, _rows: error_reply(200, LIMIT_REACHED),
    FaultKind.UNAUTHORISED: lambda _fault, _rows: invalid_key(),
    FaultKind.SUSPENDED: lambda _fault, _rows: error_reply(403, SUSPENDED),
    FaultKind.PLAN: lambda _fault, _rows: Reply(402, RESTRICTED.encode(), TEXT_TYPE),
    FaultKind.HTML: lambda _fault, _rows: _page(200, "We will be back soon"),
    FaultKind.TRUNCATED_JSON: _truncated,
    FaultKind.WRONG_SYMBOL: _wrong_symbol,
    FaultKind.EMPTY: _empty,
    FaultKind.NAN: lambda fault, rows: _with_number(fault, rows, "NaN"),
    FaultKind.HUGE_INTEGER: lambda fault, rows: _with_number(fault, rows, "9" * fault.sized()),
    FaultKind.FIELDS: _fields,
    FaultKind.DEEP_NESTING: _deep,
    FaultKind.HUGE_HEADERS: _huge_headers,
    FaultKind.REDIRECT: lambda fault, _rows: Reply(302, b"", TEXT_TYPE, {"Location": fault.location}),
}
