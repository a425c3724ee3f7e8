"""``refreshd explain``: why a pair is or is not being refreshed, for somebody who has not read the code."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from daemon.cli.display import cut_text, duration, echo_fields, echo_json, new_table, safe, shown
from daemon.cli.holds import hold_reason
from daemon.contracts import ConfigurationError, Lane, type_flag
from daemon.fetchers.plug_ins import load_fetchers
from daemon.migration.phases import ON, WORDS
from daemon.refresh.market_hours import read_hours
from daemon.settings import load_database_settings
from daemon.store.database import Database
from daemon.store.explanation import Explanation, read_explanation, similar_symbols
from daemon.store.migrate import check_version


@click.command()
@click.argument("symbol")
@click.argument("data_type", metavar="TYPE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def explain(env_file: Path | None, symbol: str, data_type: str, *, as_json: bool) -> None:
    """Say why SYMBOL's TYPE is or is not being refreshed: viewers, due time, what it is worth, how it went lately.

    For a global type, such as exchange-market-status, any SYMBOL does.
    """

    async def read() -> Explanation:
        async with Database(load_database_settings(env_file).database_url.get_secret_value()) as database:
            await check_version(database)
            found = await read_explanation(database, symbol, data_type)
            if found.symbol_is_active is None and found.state is None:
                raise ConfigurationError(unknown_symbol(symbol, await similar_symbols(database, symbol)))
            return found

    known = asyncio.run(read())
    if as_json:
        index = None if known.job is None or not known.cost else known.job["gain"] / known.cost
        echo_json({"verdict": verdict(known), "index": index, **asdict(known)})
        return
    click.echo(verdict(known))
    click.echo()
    echo_fields(_fields(known))
    _print_history(known)


def unknown_symbol(symbol: str, similar: list[str]) -> str:
    """Return what to do about a symbol that the allow-list does not have."""
    hint = f"; there are {', '.join(similar)}" if similar else ""
    return f"the symbol {safe(symbol)!r} is not in supported_symbols{hint}: add it with `refreshd seed symbols FILE`"


def verdict(known: Explanation) -> str:
    """Return in one sentence whether and when the pair is refreshed."""
    name = f"{known.pair.symbol} {known.pair.data_type}"
    if (obstacle := _obstacle(known)) is not None:
        return f"{name} is not refreshed: {obstacle}"
    if known.job is not None:
        return f"{name} {_open_job(known, known.job)}"
    return f"{name} {_without_job(known)}"


def _without_job(known: Explanation) -> str:
    state, scheduled = known.state, known.data_type["refresh_strategy"] == "scheduled"
    watched = _watched(known.viewers)
    if state is None or state["next_due_at"] is None:
        if known.viewers:
            return f"has never been fetched; {watched}: it is queued within a minute at most"
        return f"has never been fetched, and nobody is looking at it{_schedule(known) if scheduled else ''}"
    fresh = _freshness(state)
    if not known.viewers:
        return f"{fresh}, and nobody is looking at it{_schedule(known) if scheduled else ': it stays as it is'}"
    if state["due_in_seconds"] > 0:
        return f"{fresh}; {watched}; it falls due in {duration(state['due_in_seconds'] + 1)}"
    return f"{fresh}; {watched}; it is due, and is queued within a minute at most"


def _obstacle(known: Explanation) -> str | None:
    """Return what stands in the way for good, until somebody changes something."""
    if not known.queue.queue_is_on:
        return "the flag use_queue_system is off; `refreshd flags on use_queue_system` turns it on"
    if (obstacle := _flag_off(known.data_type)) is not None:
        return obstacle
    if known.data_type["fetcher"] not in load_fetchers().fetchers:
        return f"this version has no fetcher {safe(known.data_type['fetcher'])}; the job waits for one that has"
    if known.symbol_is_active is None:
        return "its symbol is not in supported_symbols any more"
    if not known.symbol_is_active:
        return "its symbol is not active in supported_symbols"
    return None


def _flag_off(data_type: Mapping[str, Any]) -> str | None:
    """Return why the type is off, or on and held."""
    name, phase = data_type["data_type"], data_type["migration_phase"]
    if not data_type["flag_is_on"] and phase in WORDS and phase not in ON:
        return f"its type is the old system's ({WORDS[phase]}): `refreshd migration status`"
    if not data_type["flag_is_on"]:
        return f"the flag {type_flag(name)} is off; `refreshd flags on {type_flag(name)}` turns it on"
    if (data_type["held_seconds"] or 0.0) > 0:
        seconds = duration(data_type["held_seconds"] + 1)
        return f"its type has just moved over, and is held for {seconds} in which a run of its old job can end"
    return None


def _open_job(known: Explanation, job: Mapping[str, Any]) -> str:
    if job["status"] == "processing":
        return f"is being refreshed now by {safe(job['claimed_by'])}, since {shown(job['claimed_at'])}"
    if job["waits_seconds"] > 0:
        reason = safe(job["error_message"] or "no reason given")
        return (
            f"is tried again in {duration(job['waits_seconds'] + 1)}"
            f" (retry {job['retry_count']} of {job['max_retries']}): {reason}"
        )
    upstream = next(row for row in known.queue.upstreams if row["upstream"] == known.data_type["upstream"])
    if (held := hold_reason(upstream)) is not None:
        return f"is queued, and nothing is claimed now: {held}"
    if job["lane"] == Lane.SCHEDULED:
        return "is queued as scheduled work: it runs when nothing that is viewed waits"
    if not known.jobs_before:
        return "is queued, and is claimed next"
    jobs = "one job is" if known.jobs_before == 1 else f"{known.jobs_before:,} jobs are"
    return f"is queued; about {jobs} worth more for the cost, and first"


def _freshness(state: Mapping[str, Any]) -> str:
    if state["last_outcome"] == "failed":
        failures = state["consecutive_failures"]
        times = "once" if failures == 1 else f"{failures} times in a row"
        return f"failed {times}, and is not tried again before {shown(state['next_due_at'])}"
    if state["last_outcome"] == "empty":
        return f"has nothing at the upstream, as of {shown(state['last_checked_at'])}"
    left = state["fresh_for_seconds"]
    if left is None:
        return "has data of unknown age"
    return f"is fresh for another {duration(left)}" if left > 0 else f"has been stale for {duration(-left)}"


def _schedule(known: Explanation) -> str:
    at = known.data_type["next_scheduled_at"]
    return f"; its schedule fires next at {shown(at)}" if at else "; its schedule has no next firing yet"


def _watched(viewers: int) -> str:
    return "one viewer is looking" if viewers == 1 else f"{viewers:,} viewers are looking"


def _fields(known: Explanation) -> dict[str, Any]:
    kind, state, job = known.data_type, known.state, known.job
    sources = ", ".join(f"{row['viewers']} by {safe(row['source'])}" for row in known.sources)
    fields: dict[str, Any] = {
        "viewers": f"{known.viewers:,}" + (f" ({sources})" if sources else ""),
        "type": f"TTL {duration(kind['default_ttl_minutes'] * 60)}, {kind['refresh_strategy']}"
        + (f" ({kind['refresh_schedule']})" if kind["refresh_schedule"] else ""),
    }
    if kind["market_hours"]:
        fields["trading hours"] = _trading(known)
    if state is not None:
        fields |= {
            "last checked": state["last_checked_at"],
            "last outcome": state["last_outcome"],
            "source says": state["source_timestamp"],
            "fresh until": state["fresh_until"],
            "due": state["next_due_at"],
        }
    if known.cost is not None:
        fields["cost"] = (
            f"{known.cost:.4g} = {kind['api_calls_per_job']} call(s), up to {kind['batch_size']} jobs in one,"
            f" and {kind['size_bytes']:,} bytes, at the prices of now"
        )
    if job is not None:
        fields |= {
            "job": f"{job['id']}, {job['status']}, {Lane(job['lane']).name.lower().replace('_', ' ')}",
            "queued": job["created_at"],
            "gain": f"{job['gain']:.4g} viewer-seconds"
            + (f"; {job['gain'] / known.cost:.4g} for its cost" if known.cost else ""),
            "attempts": f"{job['claims']} claims, {job['retry_count']} retries of {job['max_retries']}",
        }
        if job["lease_expires_at"] is not None:
            fields["lease"] = f"{safe(job['claimed_by'])} until {shown(job['lease_expires_at'])}"
        if job["error_message"]:
            fields["last error"] = job["error_message"]
    return fields


def _trading(known: Explanation) -> str:
    """Return whether the exchange of the pair trades now, and when it does next."""
    if known.exchange is None:
        return "the exchange is not known (supported_symbols.exchange): the TTL alone counts"
    hours = None if known.trading is None else read_hours(known.trading)
    if hours is None:
        return f"{safe(known.exchange)}: its hours are not known, or it never closes: the TTL alone counts"
    if hours.is_open(known.now):
        return f"{safe(known.exchange)} is open: the TTL counts"
    opening = hours.next_opening(known.now)
    return (
        f"{safe(known.exchange)} is closed"
        + (f" until {shown(opening)}" if opening else "")
        + ": one fetch after the close stays fresh until it opens"
    )


def _print_history(known: Explanation) -> None:
    if not known.history:
        return
    click.echo()
    table = new_table(("finished", "outcome", "took", "bytes", "error"), right=("took", "bytes"), yielding="error")
    for row in known.history:
        table.add_row(
            shown(row["finished_at"]),
            row["outcome"] or row["status"],
            f"{row['took_seconds']:.1f} s",
            "-" if row["bytes"] is None else f"{row['bytes']:,}",
            cut_text(row["error_message"] or ""),
        )
    Console().print(table)
