"""``refreshd presence``."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console

from daemon.cli.display import cut_text, echo_json, new_table, rough_duration, safe
from daemon.settings import load_database_settings
from daemon.store.database import Database
from daemon.store.migrate import check_version
from daemon.store.shards import list_listeners, list_shards

NOBODY = (
    "No daemon has listened within a day: is it running (systemctl status refreshd), and is use_presence_tracking on"
    " (refreshd flags)?"
)


class _Facts(NamedTuple):
    listeners: Sequence[Mapping[str, Any]]
    shards: Sequence[Mapping[str, Any]]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def presence(env_file: Path | None, *, as_json: bool) -> None:
    """Show who listens to what: connections and their ages, shards and their viewers, what was dropped and why.

    Every daemon reports this each time it renews its shards (REFRESHD_SHARD_RENEW_SECONDS), so it is a few seconds old.
    """
    facts = asyncio.run(_read(env_file))
    if as_json:
        echo_json({"listeners": [dict(row) for row in facts.listeners], "shards": [dict(row) for row in facts.shards]})
    elif not facts.listeners:
        click.echo(NOBODY)
    else:
        _show(facts)


async def _read(env_file: Path | None) -> _Facts:
    async with Database(load_database_settings(env_file).database_url.get_secret_value()) as database:
        await check_version(database)
        return _Facts(await list_listeners(database), await list_shards(database))


def _show(facts: _Facts) -> None:
    console = Console()
    for listener in facts.listeners:
        console.print(_headline(listener), soft_wrap=True, highlight=False, markup=False)
        if listener["alive"]:
            _show_connections(console, listener["status"])
    _show_shards(console, facts)
    _show_drops(console, facts)


def _headline(listener: Mapping[str, Any]) -> str:
    ago = rough_duration(listener["seconds_ago"])
    state = f"reported {ago} ago" if listener["alive"] else f"silent for {ago}: its shards are free"
    return f"{safe(listener['holder'])}  {state}"


def _show_connections(console: Console, status: Mapping[str, Any]) -> None:
    headings = ("connection", "age", "topics", "current", "sessions ended")
    table = new_table(headings, right=("connection", "topics", "current"), yielding="sessions ended")
    for each in status.get("connections", ()):
        age = each["age_seconds"]
        table.add_row(
            str(each["number"]),
            "down" if age is None else rough_duration(age),
            str(each["topics"]),
            str(each["confirmed"]),
            cut_text(_counted(each["sessions_ended"])),
        )
    if table.row_count:
        console.print(table)


def _show_shards(console: Console, facts: _Facts) -> None:
    reports = {
        (listener["holder"], shard): report
        for listener in facts.listeners
        for shard, report in listener["status"].get("shards", {}).items()
    }
    table = new_table(
        ("shard", "listener", "topics", "current", "viewers"),
        right=("topics", "current", "viewers"),
        yielding="listener",
    )
    for row in facts.shards:
        report = reports.get((row["holder"], row["shard"]), {}) if row["held"] else {}
        numbers = (str(report.get(name, "-")) for name in ("topics", "confirmed", "viewers"))
        table.add_row(safe(row["shard"]), cut_text(row["holder"] if row["held"] else "nobody"), *numbers)
    console.print()
    console.print(table)


def _show_drops(console: Console, facts: _Facts) -> None:
    drops: Counter[str] = Counter()
    for listener in facts.listeners:
        if listener["alive"]:
            drops.update(listener["status"].get("drops", {}))
    console.print()
    console.print(f"dropped  {_counted(drops)}", soft_wrap=True, highlight=False, markup=False)


def _counted(counts: Mapping[str, int]) -> str:
    """Return what was counted, the most frequent first."""
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return safe(", ".join(f"{name} {number:,}" for name, number in largest)) or "nothing"
