"""``refreshd status``: one screen with what a person asks first."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from daemon.cli.display import echo_fields, echo_json, rough_duration
from daemon.cli.holds import hold_reason
from daemon.contracts import Flags
from daemon.holds import Hold, breaker_in_words, hold_of
from daemon.settings import load_database_settings
from daemon.store.database import Database
from daemon.store.flags import FlagRow, list_flags
from daemon.store.migrate import check_version
from daemon.store.queue_state import QueueState, read_queue_state
from daemon.store.shards import list_listeners
from daemon.store.vitals import TypeFreshness, as_fields, read_all_freshness, staleness

MOST_STALE = 0.2
"""As the alert RefreshdStale has it; a budget that is too small for what people look at is worth knowing, too."""

_GLOBAL_FLAGS = tuple(Flags().global_by_name())


@dataclass(frozen=True, slots=True)
class _State:
    schema_version: int
    flags: Sequence[FlagRow]
    listeners: Sequence[Mapping[str, Any]]
    freshness: Sequence[TypeFreshness]
    queue: QueueState

    @property
    def alive(self) -> Sequence[Mapping[str, Any]]:
        """The daemons that have reported lately."""
        return [row for row in self.listeners if row["alive"]]

    @property
    def viewers(self) -> int:
        return sum(row.viewers for row in self.freshness)

    @property
    def staleness(self) -> float | None:
        """S; None where nobody looks at anything."""
        return staleness(self.freshness)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def status(env_file: Path | None, *, as_json: bool) -> None:
    """Show on one screen whether it works: daemons, freshness, queue, budgets, breaker, flags.

    Needs DATABASE_URL alone and works from anywhere. Exit code 1 where something needs a person.
    """
    state = asyncio.run(_read(env_file))
    troubles = _troubles(state)
    if as_json:
        echo_json(_document(state, troubles))
    else:
        click.echo("; ".join(troubles) or _good(state))
        click.echo()
        echo_fields(_fields(state))
    sys.exit(1 if troubles else 0)


async def _read(env_file: Path | None) -> _State:
    url = load_database_settings(env_file).database_url.get_secret_value()
    async with Database(url, application_name="refreshd status") as database:
        version = await check_version(database)
        return _State(
            version,
            await list_flags(database),
            await list_listeners(database),
            await read_all_freshness(database),
            await read_queue_state(database),
        )


def _troubles(state: _State) -> list[str]:
    """Return what needs a person, in words; nothing where all is well."""
    troubles = []
    on = {flag.name for flag in state.flags if flag.enabled}
    if not state.alive and "use_presence_tracking" in on:
        troubles.append("no daemon listens: start one (systemctl start refreshd), or look at journalctl -u refreshd")
    if state.queue.queue_is_on:
        troubles += [f"{row['upstream']}: {why}" for row in state.queue.upstreams if (why := _serious(row))]
    overdue = state.queue.longest_overdue
    if state.queue.queue_is_on and state.staleness is not None and state.staleness > MOST_STALE:
        longest = "" if overdue is None else f"; {overdue['symbol']} {overdue['data_type']} is due longest"
        troubles.append(f"{state.staleness:.0%} of what people look at is stale{longest}")
    for row in state.queue.types:
        done, failed = row["completed_in_hour"], row["failed_in_hour"]
        if failed > done:
            troubles.append(f"{row['data_type']}: {failed:,} jobs failed within an hour and {done:,} did not")
    return troubles


def _serious(upstream: Mapping[str, Any]) -> str | None:
    """Return why nothing is claimed, unless that is the ordinary pace of things."""
    return None if hold_of(upstream) in {Hold.BYTES_AHEAD, Hold.CALLS_MADE} else hold_reason(upstream)


def _good(state: _State) -> str:
    if not state.queue.queue_is_on:
        return "idle: the flag use_queue_system is off (`refreshd flags on use_queue_system`)"
    if state.staleness is None:
        return "works: nobody looks at anything"
    return f"works: {1 - state.staleness:.1%} of what people look at is fresh"


def _fields(state: _State) -> dict[str, Any]:
    queue = state.queue
    pending, running = (sum(row[column] for row in queue.types) for column in ("pending", "processing"))
    done, failed = (sum(row[column] for row in queue.types) for column in ("completed_in_hour", "failed_in_hour"))
    pairs = sum(row.pairs for row in state.freshness)
    overdue = queue.longest_overdue
    on = [flag.name for flag in state.flags if flag.enabled]
    types_on = sum(row["enabled"] for row in queue.types)
    fields: dict[str, Any] = {
        "daemons": ", ".join(f"{row['holder']} ({rough_duration(row['seconds_ago'])} ago)" for row in state.alive)
        or "none has reported",
        "viewed": f"{pairs:,} pairs, {state.viewers:,} viewers counted once for each",
        "fresh": "-" if state.staleness is None else f"{1 - state.staleness:.2%} (S {state.staleness:.4f})",
        "queue": f"{pending:,} waiting, {running:,} running; in the last hour {done:,} done, {failed:,} failed",
        "longest overdue": "nothing that is viewed"
        if overdue is None
        else f"{overdue['symbol']} {overdue['data_type']}, due {rough_duration(overdue['seconds'])} ago",
    }
    for row in queue.upstreams:
        fields |= _budgets(row)
    fields["flags"] = f"{', '.join(name for name in _GLOBAL_FLAGS if name in on) or 'none'} on, and {types_on} types"
    fields["schema"] = f"version {state.schema_version}"
    return fields


def _budgets(row: Mapping[str, Any]) -> dict[str, str]:
    if row["calls_per_minute"] is None:
        return {row["upstream"]: "no running daemon has announced limits"}
    share = row["bytes_in_30_days"] / row["bytes_per_30_days"]
    return {
        row["upstream"]: f"{row['calls_in_window']:,} of {row['calls_per_minute']:,} calls in the last minute,"
        f" {share:.1%} of the bytes of 30 days, breaker {breaker_in_words(row)}"
    }


def _document(state: _State, troubles: Sequence[str]) -> dict[str, Any]:
    return {
        "ok": not troubles,
        "troubles": list(troubles),
        "schema_version": state.schema_version,
        "daemons": [dict(row) for row in state.listeners],
        "staleness": state.staleness,
        "freshness": as_fields(state.freshness),
        "queue": {"types": state.queue.types, "rates": state.queue.rates, "on": state.queue.queue_is_on},
        "longest_overdue": state.queue.longest_overdue,
        "upstreams": state.queue.upstreams,
        "flags": {flag.name: flag.enabled for flag in state.flags},
    }
