"""``refreshd fetch``: one refresh before the operator's eyes, to check a key, a plan or a data type."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from daemon.assembly import UPSTREAM, build_client
from daemon.cli.display import echo_json, safe
from daemon.cli.explain import unknown_symbol
from daemon.cli.fetched import Report, echo_bodies, echo_report, json_report, stand_in
from daemon.cli.holds import hold_reason
from daemon.cli.limits import limits_in_force
from daemon.cli.seed import SYMBOL
from daemon.contracts import CallRefusedError, ConfigurationError, Fetcher, FetchError, RefreshdError
from daemon.fetchers.plug_ins import load_fetchers
from daemon.log import configure_logging
from daemon.processor.single import LookersBreaker, SingleRefresh
from daemon.processor.spending import Spender
from daemon.processor.tuning import breaker_limits, due_rules
from daemon.refresh.market_hours import read_hours
from daemon.settings import Settings, load_settings
from daemon.store.clock import DatabaseClock
from daemon.store.database import Database
from daemon.store.explanation import Explanation, read_explanation, similar_symbols
from daemon.store.migrate import check_version
from daemon.store.queue_state import read_queue_state

_STDERR = 2


@dataclass(frozen=True, slots=True)
class Order:
    """What the operator wants."""

    data_type: str
    symbol: str
    is_dry: bool


@click.command()
@click.argument("data_type", metavar="TYPE")
@click.argument("symbol", required=False)
@click.option("--dry-run", "is_dry", is_flag=True, help="Store nothing; any symbol will do.")
@click.option("--raw", is_flag=True, help="Print the body as it came, and everything else to standard error.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def fetch(env_file: Path | None, data_type: str, symbol: str | None, *, is_dry: bool, raw: bool, as_json: bool) -> None:
    """Fetch SYMBOL's TYPE once, show what came, what was odd about it, and store it.

    The call is reserved in both budgets and held up by the breaker like any other, but needs no flag. It asks for
    everything, whether that has changed or not. A fetch that fails changes nothing but the budgets. For a global type,
    such as available-exchanges, no SYMBOL is needed.

    Exit codes: 0 the upstream gave a good answer, and it was stored unless --dry-run; 1 it did not, or nothing could be
    asked or stored now; 2 wrong usage; 78 something has to be configured.
    """
    if raw and as_json:
        raise click.UsageError("--raw and --json exclude each other")
    settings = load_settings(env_file)
    configure_logging("console", "warning", settings.secrets(), descriptor=_STDERR)
    report = asyncio.run(_run(settings, Order(data_type, symbol or "", is_dry)))
    if as_json:
        echo_json(json_report(report))
    elif raw:
        echo_bodies(report)
    else:
        echo_report(report)
    sys.exit(0 if report.is_good else 1)


async def _run(settings: Settings, order: Order) -> Report:
    async with Database(settings.database_url.get_secret_value(), application_name="refreshd fetch") as database:
        await check_version(database)
        known = await _look_up(database, order)
        fetcher = _fetcher(known)
        instance = f"{settings.instance}/fetch"
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(limits_in_force(database, settings, instance))
            client = await stack.enter_async_context(build_client(settings))
            clock = DatabaseClock()
            await clock.synchronise(database)
            breaker = LookersBreaker(database, UPSTREAM, breaker_limits(settings), clock)
            spender = Spender(database, UPSTREAM, instance, client, breaker, clock)
            purse = spender.purse(known.data_type["size_bytes"], known.pair.data_type)
            hours = None if known.trading is None else read_hours(known.trading)
            refresh = SingleRefresh(database, purse, fetcher, clock, due_rules(settings), hours)
            try:
                return await _refresh(refresh, known, order, instance)
            except CallRefusedError as error:
                raise RefreshdError(await _refusal(database, error)) from None
            finally:
                await refresh.close()


async def _look_up(database: Database, order: Order) -> Explanation:
    """Return what is known of the pair.

    Raises:
        ConfigurationError: For a type that does not exist, and a symbol of which nothing may be stored.
        RefreshdError: Where a daemon is refreshing the pair just now.
    """
    known = await read_explanation(database, order.symbol, order.data_type)
    if not known.data_type["is_global"]:
        _check_symbol(order.symbol)
    if order.is_dry:
        return known
    if not known.symbol_is_active:
        unknown = unknown_symbol(order.symbol, await similar_symbols(database, order.symbol))
        raise ConfigurationError(f"{unknown}, or give --dry-run")
    if known.job is not None and known.job["status"] == "processing":
        name, holder = " ".join(known.pair), safe(known.job["claimed_by"])
        raise RefreshdError(
            f"{name} is being refreshed just now by {holder}: nothing was asked; wait a moment, or give --dry-run"
        )
    return known


def _check_symbol(symbol: str) -> None:
    if not symbol:
        raise click.UsageError("which SYMBOL? Only a global type needs none")
    if not SYMBOL.fullmatch(symbol):
        raise click.UsageError(f"{safe(symbol[:40])!r} is no symbol: 1 to 20 of A-Z 0-9 . ^ = -")


def _fetcher(known: Explanation) -> Fetcher:
    fetchers, name = load_fetchers().fetchers, known.data_type["fetcher"]
    if name not in fetchers:
        there = ", ".join(sorted(fetchers))
        raise ConfigurationError(
            f"{known.pair.data_type} needs the fetcher {safe(name)!r}, which is not here: there are {there}"
        )
    return fetchers[name]


async def _refresh(refresh: SingleRefresh, known: Explanation, order: Order, holder: str) -> Report:
    finding = await refresh.fetch(known.pair.symbol)
    if isinstance(finding.result, FetchError):
        return Report(known, finding, is_dry=order.is_dry)
    if order.is_dry:
        return Report(known, finding, is_dry=True, completion=refresh.foresee(finding, stand_in(known)))
    stored = await refresh.store(finding, known.pair, holder)
    completion = refresh.foresee(finding, stand_in(known)) if stored is None else stored.completion
    return Report(known, finding, is_dry=False, completion=completion, stored=stored)


async def _refusal(database: Database, error: CallRefusedError) -> str:
    upstreams = (await read_queue_state(database)).upstreams
    held = next((hold_reason(row) for row in upstreams if row["upstream"] == UPSTREAM), None)
    why = f"{held}; " if held else ""
    return f"nothing was asked: {why}{error}"
