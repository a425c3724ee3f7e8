"""``refreshd baseline``: how everything was before, to compare with later."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from daemon.cli.display import echo_fields, echo_json, new_table, safe, shown, working
from daemon.cli.operator_name import operator_name
from daemon.migration.comparison import Line, bytes_a_day, calls_a_day, compare
from daemon.settings import load_database_settings
from daemon.store.baselines import (
    CRON_DAYS,
    Baseline,
    BaselineError,
    Measure,
    list_baselines,
    measure,
    read_baseline,
    record,
)
from daemon.store.owner import owner_connection

NOW = "now"


@click.group()
def baseline() -> None:
    """Record how data tables, old jobs and spending are now; show it, and compare it with a later moment."""


@baseline.command("record")
@click.argument("name", required=False)
@click.option("--note", help="What there is to know about it.")
@click.option("--calls-per-day", type=click.IntRange(0), help="Calls that the old system makes a day, where known.")
@click.option("--bytes-per-day", type=click.IntRange(0), help="Bytes that the old system receives a day, where known.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def record_now(
    env_file: Path | None,
    name: str | None,
    *,
    note: str | None,
    calls_per_day: int | None,
    bytes_per_day: int | None,
    as_json: bool,
) -> None:
    """Measure everything now and keep it under NAME (the date and time without one).

    Of each data table: rows, symbols, oldest and newest timestamp, and the share of symbols within their TTL (of what
    is viewed, where somebody looks). Of each job of pg_cron: schedule, runs and failures of a week. Calls and bytes as
    refreshd has metered them, and as you know them of the old system.
    """
    chosen = name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    if chosen == NOW:
        raise click.UsageError("`now` is what a baseline is compared with: choose another name")

    async def work() -> Baseline:
        async with owner_connection(_url(env_file)) as owner:
            measured = await measure(owner, calls_a_day=calls_per_day, bytes_a_day=bytes_per_day)
            moment = await record(owner, chosen, measured, who=operator_name(), note=note)
            return Baseline(chosen, moment, operator_name(), note, measured)

    with working("measuring"):
        recorded = asyncio.run(work())
    if as_json:
        echo_json(asdict(recorded))
        return
    _show(recorded)
    click.echo(f"recorded as {chosen}; compare with it later: refreshd baseline compare {chosen}")


@baseline.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def show(env_file: Path | None, name: str | None, *, as_json: bool) -> None:
    """Show the baseline NAME, or list all of them."""

    async def work() -> Sequence[Baseline]:
        async with owner_connection(_url(env_file)) as owner:
            return [await read_baseline(owner, name)] if name else await list_baselines(owner)

    known = asyncio.run(work())
    if as_json:
        echo_json(asdict(known[0]) if name else [asdict(each) for each in known])
    elif name:
        _show(known[0])
    elif not known:
        raise BaselineError("there is no baseline yet: record one with `refreshd baseline record NAME`")
    else:
        table = new_table(("name", "recorded at", "by", "note"), yielding="note")
        for each in known:
            table.add_row(*map(Text, (each.name, shown(each.recorded_at), safe(each.recorded_by), shown(each.note))))
        Console().print(table)


@baseline.command("compare")
@click.argument("before", metavar="NAME")
@click.argument("after", metavar="[LATER]", required=False, default=NOW)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def compare_two(env_file: Path | None, before: str, after: str, *, as_json: bool) -> None:
    """Compare the baseline NAME with a LATER one, or with now."""

    async def work() -> tuple[Baseline, Measure]:
        async with owner_connection(_url(env_file)) as owner:
            first = await read_baseline(owner, before)
            return first, await measure(owner) if after == NOW else (await read_baseline(owner, after)).measure

    with working("measuring"):
        first, second = asyncio.run(work())
    if as_json:
        lines = [{**asdict(line), "freshness_change": line.freshness_change} for line in compare(first.measure, second)]
        usage = {"before": asdict(first.measure.usage), "after": asdict(second.usage)}
        echo_json({"before": before, "after": after, "types": lines, "usage": usage})
        return
    print_comparison(first.measure, second, before=before, after=after)


def print_comparison(first: Measure, second: Measure, *, before: str, after: str) -> None:
    """Print two measures side by side."""
    headings = ("data type", "fresh", "", "change", "symbols", "", "newest before", "newest after")
    table = new_table(headings, right=("fresh", "", "change", "symbols"), yielding="data type")
    for line in compare(first, second):
        table.add_row(*map(Text, _compared(line)))
    click.echo(f"{before} -> {after}")
    Console().print(table)
    old, new = first.usage, second.usage
    click.echo(f"calls a day: {calls_a_day(old):,} -> {calls_a_day(new):,}")
    click.echo(f"bytes a day: {bytes_a_day(old):,} -> {bytes_a_day(new):,}")


def _compared(line: Line) -> tuple[str, ...]:
    sides = (line.before, line.after)
    change = line.freshness_change
    return (
        safe(line.data_type),
        *(_share(side.fresh_share if side else None) for side in sides),
        "-" if change is None else f"{100 * change:+.1f} points",
        *("-" if side is None else f"{side.symbols:,}" for side in sides),
        *(shown(side.newest if side else None) for side in sides),
    )


def _show(known: Baseline) -> None:
    heading = {"name": known.name, "recorded at": known.recorded_at, "by": known.recorded_by, "note": known.note}
    echo_fields({name: value for name, value in heading.items() if value})
    headings = ("data type", "rows", "symbols", "fresh", "viewed", "oldest", "newest")
    table = new_table(headings, right=("rows", "symbols", "fresh", "viewed"), yielding="data type")
    for each in known.measure.types:
        if each.problem:
            table.add_row(Text(safe(each.data_type)), *[Text("-")] * 5, Text(safe(each.problem)))
            continue
        counts = (f"{each.table_rows:,}", f"{each.symbols:,}", _share(each.fresh_share), f"{each.viewed:,}")
        table.add_row(*map(Text, (safe(each.data_type), *counts, shown(each.oldest), shown(each.newest))))
    Console().print(table)
    _show_jobs(known.measure)
    usage = known.measure.usage
    echo_fields(
        {
            "calls a day": f"{calls_a_day(usage):,}{_told(usage.told_calls_a_day)}",
            "bytes a day": f"{bytes_a_day(usage):,}{_told(usage.told_bytes_a_day)}",
            "bytes of 30 days": f"{usage.bytes_in_30_days:,}, as metered by refreshd",
        }
    )


def _show_jobs(measured: Measure) -> None:
    if measured.cron_jobs is None:
        click.echo("old jobs: there is no pg_cron here, or this login may not read it")
        return
    table = new_table(("old job", "schedule", "active", f"runs in {CRON_DAYS} d", "failed"), yielding="old job")
    for job in measured.cron_jobs:
        cells = (safe(job.name), safe(job.schedule), shown(job.active), f"{job.runs:,}", f"{job.failures:,}")
        table.add_row(*map(Text, cells))
    Console().print(table)


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _told(value: int | None) -> str:
    return ", as metered by refreshd" if value is None else ", as told"


def _url(env_file: Path | None) -> str:
    return load_database_settings(env_file).owner_database_url.get_secret_value()
