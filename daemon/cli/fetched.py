"""What ``refreshd fetch`` says about what it fetched."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import click
from rich.console import Console

from daemon.cli.display import cut_text, echo_fields, new_table, safe, shown
from daemon.contracts import Fetched, FetchError, FetchErrorKind, Job, Lane, Oddity, Row
from daemon.fetchers.answers import describe
from daemon.processor.single import Call, Finding, Stored
from daemon.store.explanation import Explanation
from daemon.store.queue import Completion

MAX_ROWS = 10
MAX_CELL = 24
MAX_VALUE = 100
MAX_RAW = 1_000_000
"""Bytes of one body that --raw prints."""

_HINTS: Mapping[FetchErrorKind, str] = {
    FetchErrorKind.TIMEOUT: "check the outbound network",
    FetchErrorKind.TRANSPORT: "check the outbound network",
    FetchErrorKind.UNAUTHORISED: "the key is wrong, check FMP_API_KEY",
    FetchErrorKind.PLAN: "the key is good, but its plan does not include this",
    FetchErrorKind.RATE_LIMITED: "the plan allows fewer calls: all daemons pause, check REFRESHD_CALLS_PER_MINUTE",
    FetchErrorKind.BANDWIDTH_EXHAUSTED: "the bytes of the plan are used up: all daemons pause",
}

_UNSAFE_ON_TERMINAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Report:
    """What was known before, what was found, and what became of it."""

    known: Explanation
    finding: Finding
    is_dry: bool
    completion: Completion | None = None
    stored: Stored | None = None

    @property
    def is_good(self) -> bool:
        """Whether everything that was ordered has been done."""
        return self.completion is not None and (self.is_dry or self.verdict == "completed")

    @property
    def verdict(self) -> str | None:
        """What became of the job, None where there was none."""
        return None if self.stored is None else self.stored.verdict

    @property
    def error(self) -> FetchError | None:
        """Why the fetch brought nothing."""
        return self.finding.result if isinstance(self.finding.result, FetchError) else None

    @property
    def rows(self) -> Sequence[Row]:
        """What the answer holds, whether it is stored or not."""
        return (self.finding.result.rows or ()) if isinstance(self.finding.result, Fetched) else ()

    @property
    def oddities(self) -> Sequence[Oddity]:
        """What was odd about the answer."""
        return self.finding.result.oddities if isinstance(self.finding.result, Fetched) else ()


def stand_in(known: Explanation) -> Job:
    """Return the job that a pair would have, to tell the outcome by."""
    kind, state = known.data_type, known.state or {}
    return Job(
        id=UUID(int=0),
        lease_id=UUID(int=0),
        pair=known.pair,
        fetcher=kind["fetcher"],
        upstream=kind["upstream"],
        ttl_seconds=kind["default_ttl_minutes"] * 60.0,
        weight=kind["weight"],
        lane=Lane.VIEWED,
        priority=0,
        retry_count=0,
        estimated_bytes=kind["size_bytes"],
        source_timestamp=state.get("source_timestamp"),
        etag=None,
        failures_before=state.get("consecutive_failures", 0),
    )


def sentence(report: Report) -> str:
    """Return in one line how it went."""
    name = f"{report.known.pair.symbol} {report.known.pair.data_type}"
    if report.error is not None:
        hint = _HINTS.get(report.error.kind)
        return f"{name} failed: {report.error.kind}: {safe(str(report.error))}{f'; {hint}' if hint else ''}"
    assert report.completion is not None
    outcome, rows = report.completion.outcome, _counted(len(report.completion.rows), "row")
    if report.is_dry:
        return f"{name} is {outcome}: {rows} would be stored; nothing was, with --dry-run"
    if report.stored is None or report.verdict == "lost":
        return f"{name} is {outcome}, but a daemon has refreshed it meanwhile: nothing was stored"
    if report.verdict != "completed":
        return f"{name} is {outcome}, but was not stored: {safe(report.stored.refused or report.stored.verdict)}"
    return f"{name} is {outcome}: {rows} stored, fresh until {shown(report.completion.fresh_until)}"


def echo_report(report: Report) -> None:
    """Print everything for a person to read."""
    click.echo(sentence(report))
    click.echo()
    echo_fields(_fields(report))
    _print_rows(report)
    _print_oddities(report.oddities)


def echo_bodies(report: Report) -> None:
    """Print the bodies as they came, safe for a terminal where there is one; the sentence goes to standard error."""
    click.echo(sentence(report), err=True)
    for call in report.finding.calls:
        click.echo(_described(call), err=True)
        body = call.body[:MAX_RAW]
        if sys.stdout.isatty():
            click.echo(_UNSAFE_ON_TERMINAL.sub("?", body.decode(errors="replace")))
        else:
            click.echo(body, nl=len(report.finding.calls) > 1)
        if len(call.body) > MAX_RAW:
            click.echo(f"cut: {len(call.body):,} bytes came, {MAX_RAW:,} are shown", err=True)
        if call.status is None:
            click.echo("there is no body to show: the error above quotes the beginning of what came", err=True)


def json_report(report: Report) -> dict[str, Any]:
    """Return everything for a script."""
    result, completion = report.finding.result, report.completion
    return {
        "verdict": sentence(report),
        "symbol": report.known.pair.symbol,
        "data_type": report.known.pair.data_type,
        "outcome": "failed" if completion is None else completion.outcome,
        "stored": report.verdict == "completed",
        "error": None if report.error is None else {"kind": report.error.kind, "message": str(report.error)},
        "source_timestamp": result.source_timestamp if isinstance(result, Fetched) else None,
        "etag": result.etag if isinstance(result, Fetched) else None,
        "fresh_until": None if completion is None else completion.fresh_until,
        "calls": [
            {
                "endpoint": call.endpoint,
                "params": call.params,
                "status": call.status,
                "received_bytes": call.received_bytes,
                "seconds": call.seconds,
                "etag": call.etag,
            }
            for call in report.finding.calls
        ],
        "oddities": [oddity._asdict() for oddity in report.oddities],
        "rows": [dict(row) for row in report.rows],
    }


def _fields(report: Report) -> dict[str, Any]:
    result, calls = report.finding.result, report.finding.calls
    fields: dict[str, Any] = {
        f"call {number}" if len(calls) > 1 else "call": _described(call) for number, call in enumerate(calls, 1)
    }
    job = report.known.job
    if job is not None:
        if report.is_dry:
            fields["open job"] = f"{job['id']}, {job['status']}: left alone"
        elif report.stored is not None and report.stored.completion.job.id == job["id"]:
            fields["open job"] = f"{job['id']}, which waited in the queue: done with this"
    if isinstance(result, Fetched):
        fields |= {"ETag": result.etag, "source says": result.source_timestamp, "rows": len(report.rows)}
        fields["odd"] = _counted(len(report.oddities), "thing") if report.oddities else "nothing"
    return fields


def _described(call: Call) -> str:
    status = "no good answer" if call.status is None else str(call.status)
    about = describe(call.endpoint, call.params)
    return f"{about}: {status}, {call.received_bytes:,} bytes in {call.seconds * 1000:,.0f} ms"


def _print_rows(report: Report) -> None:
    if not report.rows:
        return
    click.echo()
    if len(report.rows) == 1:
        echo_fields({str(column): _cut(value, MAX_VALUE) for column, value in report.rows[0].items()})
        return
    columns = list(dict.fromkeys(str(column) for row in report.rows for column in row))
    fitting = _fitting(columns, report.rows[:MAX_ROWS], Console().width)
    table = new_table(fitting, yielding=fitting[-1])
    for row in report.rows[:MAX_ROWS]:
        table.add_row(*(cut_text(_cut(row.get(column), MAX_CELL)) for column in fitting))
    Console().print(table)
    hidden = [
        _counted(number, what)
        for number, what in ((len(report.rows) - MAX_ROWS, "row"), (len(columns) - len(fitting), "column"))
        if number > 0
    ]
    if hidden:
        click.echo(f"and {' and '.join(hidden)} more, which --json shows")


def _fitting(columns: Sequence[str], rows: Sequence[Row], width: int) -> Sequence[str]:
    """Return as many columns, from the left, as fit the terminal; one at least."""
    fitting, used = list[str](), 0
    for column in columns:
        used += max(len(column), *(len(_cut(row.get(column), MAX_CELL)) for row in rows)) + 1
        if fitting and used > width:
            break
        fitting.append(column)
    return fitting


def _print_oddities(oddities: Sequence[Oddity]) -> None:
    if not oddities:
        return
    click.echo()
    table = new_table(("odd", "field or reason", "records", "sample"), right=("records",), yielding="sample")
    for oddity in oddities:
        kind = oddity.kind.replace("_", " ")
        table.add_row(kind, cut_text(oddity.field[: MAX_CELL * 2]), str(oddity.records), cut_text(oddity.sample))
    Console().print(table)


def _cut(value: Any, length: int) -> str:
    text = shown(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
