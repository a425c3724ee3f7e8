"""``refreshd queue``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from daemon.cli.display import duration, echo_fields, echo_json, new_table, rough_duration, shown
from daemon.cli.holds import hold_reason
from daemon.holds import BYTES_SHARE, breaker_in_words
from daemon.settings import load_database_settings
from daemon.store.database import Database
from daemon.store.migrate import check_version
from daemon.store.queue_state import QueueState, read_queue_state

_HOUR, _DAY = 3_600.0, 86_400.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def queue(env_file: Path | None, *, as_json: bool) -> None:
    """Show how the queue stands: what waits, how fast it is worked off, both budgets, prices, and the breaker."""

    async def read() -> QueueState:
        async with Database(load_database_settings(env_file).database_url.get_secret_value()) as database:
            await check_version(database)
            return await read_queue_state(database)

    state = asyncio.run(read())
    if as_json:
        verdicts = {row["upstream"]: hold_reason(row) for row in state.upstreams}
        echo_json({**asdict(state), "held_by": verdicts})
        return
    click.echo(_verdict(state))
    click.echo()
    _print_types(state)
    for upstream in state.upstreams:
        click.echo()
        echo_fields(_fields(upstream, state))


def _verdict(state: QueueState) -> str:
    """Return in one sentence whether jobs are worked off."""
    if not state.queue_is_on:
        return "nothing is queued or claimed: the flag use_queue_system is off (`refreshd flags on use_queue_system`)"
    if not any(row["enabled"] for row in state.types):
        return "nothing is queued or claimed: every type is off (`refreshd flags on migrate_quote_type`, and so on)"
    held = [f"{row['upstream']}: {reason}" for row in state.upstreams if (reason := hold_reason(row))]
    if held:
        return f"nothing is claimed now; {'; '.join(held)}"
    pending = sum(row["pending"] for row in state.types)
    if not pending:
        return "nothing waits: all that is viewed is fresh"
    return f"{pending:,} job{'s wait, and are' if pending > 1 else ' waits, and is'} worked off"


def _print_types(state: QueueState) -> None:
    headings = ("type", "on", "pending", "first", "sched.", "later", "running", "done/h", "failed/h", "oldest")
    table = new_table(headings, right=headings[2:], yielding="type")
    for row in state.types:
        table.add_row(
            row["data_type"],
            "yes" if row["enabled"] else "-",
            *(
                f"{row[column]:,}" if row[column] else "-"
                for column in ("pending", "first_views", "scheduled", "waiting", "processing")
            ),
            *(f"{row[column]:,}" if row[column] else "-" for column in ("completed_in_hour", "failed_in_hour")),
            "-" if row["oldest_seconds"] is None else rough_duration(row["oldest_seconds"]),
        )
    Console().print(table)


def _fields(upstream: Mapping[str, Any], state: QueueState) -> dict[str, Any]:
    rates, overdue = state.rates, state.longest_overdue
    fields: dict[str, Any] = {
        "upstream": upstream["upstream"],
        "jobs finished": f"{rates['finished_in_minute']:,} in the last minute, "
        f"{rates['finished_in_ten_minutes'] / 10:,.1f} a minute over ten",
        "longest overdue": "nothing that is viewed"
        if overdue is None
        else f"{overdue['symbol']} {overdue['data_type']}, due {duration(overdue['seconds'])} ago",
    }
    if upstream["calls_per_minute"] is not None:
        fields |= {"calls": _calls(upstream), "bytes": _bytes(upstream), "bytes last": _lasting(upstream)}
    adapted = shown(upstream["prices_adapted_at"])
    fields["prices"] = f"call {upstream['price_calls']:.4g}, bytes {upstream['price_bytes']:.4g} (adapted {adapted})"
    fields["breaker"] = _breaker(upstream)
    if upstream["limits_differ"]:
        fields["limits"] = "daemons have announced different ones: the least are in force"
    return fields


def _calls(upstream: Mapping[str, Any]) -> str:
    return (
        f"{upstream['calls_in_window']:,} of {upstream['calls_per_minute']:,} in the last minute,"
        f" {upstream['calls_in_hour']:,} in the last hour"
    )


def _bytes(upstream: Mapping[str, Any]) -> str:
    limit = upstream["bytes_per_30_days"]
    share = 100 * upstream["bytes_in_30_days"] / limit
    return (
        f"{_size(upstream['bytes_in_30_days'])} of {_size(limit)} in 30 days ({share:.1f} %; held at 95 %),"
        f" {_size(upstream['bytes_in_hour'])} in the last hour"
    )


def _lasting(upstream: Mapping[str, Any]) -> str:
    """Return how long the bytes last at the rate of the last hour."""
    left = upstream["bytes_per_30_days"] * BYTES_SHARE - upstream["bytes_in_30_days"]
    pace = upstream["bytes_per_30_days"] * BYTES_SHARE / (30 * _DAY)
    rate = upstream["bytes_in_hour"] / _HOUR
    spare = (
        "" if upstream["bytes_paced"] is None else f"; {_size(max(upstream['bytes_paced'], 0))} may be spent at once"
    )
    if rate <= pace:
        return f"for ever at the rate of the last hour, {100 * rate / pace:.0f} % of the pace{spare}"
    return f"{rough_duration(max(left, 0) / (rate - pace))} at the rate of the last hour, were it not paced{spare}"


def _breaker(upstream: Mapping[str, Any]) -> str:
    since = f"since {shown(upstream['breaker_changed_at'])}"
    if upstream["breaker_state"] == "closed":
        return f"closed, {since}"
    until = shown(upstream["breaker_open_until"])
    probe = ", a probe is on its way" if upstream["is_probed"] else ""
    return f"{breaker_in_words(upstream)}, {since}; next probe from {until}{probe}"


def _size(count: float) -> str:
    """Return a number of bytes in decimal units, as plans name them."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
