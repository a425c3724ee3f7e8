"""``refreshd check``: everything the daemon needs, one line each."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from daemon import __version__
from daemon.assembly import UPSTREAM
from daemon.cli.display import echo_json
from daemon.cli.limits import limits_in_force
from daemon.contracts import FetchError, FetchErrorKind, RefreshdError
from daemon.fetchers.client import HttpUpstream
from daemon.fetchers.plug_ins import FetcherTable, load_fetchers
from daemon.flags import TURN_ON_HINT
from daemon.presence.probe import probe_realtime
from daemon.processor.tuning import upstream_limits
from daemon.settings import Settings, load_settings
from daemon.store.budgets import Settlement, read_limits, read_verdict, reserve_call, settle
from daemon.store.clock import DatabaseClock
from daemon.store.database import Database
from daemon.store.flags import read_flags
from daemon.store.inspection import DatabaseFacts, inspect_database
from daemon.store.migrate import check_version
from daemon.store.registry import list_types

PROBE_SYMBOL = "AAPL"
PROBE_BYTES = 4_000
OLDEST_POSTGRES = 150_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: well or not, and what to do."""

    subject: str
    ok: bool
    text: str


Tell = Callable[[Finding], None]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def check(env_file: Path | None, *, as_json: bool) -> None:
    """Say of each thing the daemon needs whether it is there, or what to do.

    Looks at settings, database, role, schema, symbols, limits, Realtime, network, key and flags. Spends one call of
    the upstream's budget, reserved like any other. Exit code 1 where something is missing, 78 for settings.
    """
    settings = load_settings(env_file)
    complete = Finding("settings", True, f"complete, refreshd {__version__}")
    tell = _quietly if as_json else _aloud
    tell(complete)
    findings = asyncio.run(_look(settings, tell))
    if as_json:
        echo_json([asdict(finding) for finding in (complete, *findings)])
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


async def _look(settings: Settings, tell: Tell) -> list[Finding]:
    async with Database(settings.database_url.get_secret_value(), application_name="refreshd check") as database:
        findings = await _shown(tell, "database", _database(database))
        if not findings[0].ok:
            text = "not looked at, since the database cannot be: it has schema, limits and flags, and pays for a call"
            findings += await _shown(tell, "the rest", _nothing(text))
        else:
            findings += (schema := await _shown(tell, "schema", _schema(database)))
            if not schema[0].ok:
                text = "not looked at, since it needs the schema: limits, flags, and the call that tries the key"
                findings += await _shown(tell, "the rest", _nothing(text))
                return findings + await _shown(tell, "Realtime", _realtime(settings))
            findings += await _shown(tell, "limits", _limits(settings, database))
            findings += await _shown(tell, "calls", _calls(database))
            fetchers = load_fetchers()
            findings += await _shown(tell, "plug-ins", _plug_ins(fetchers))
            findings += await _shown(tell, "flags", _flags(database, fetchers))
            findings += await _shown(tell, "upstream", probe_upstream(settings, database))
        findings += await _shown(tell, "Realtime", _realtime(settings))
    return findings


async def _shown(tell: Tell, subject: str, look: Awaitable[list[Finding]]) -> list[Finding]:
    """Look, show what was found, and return it; what cannot be looked at is a finding too."""
    try:
        findings = await look
    except RefreshdError as error:
        findings = [Finding(subject, False, str(error))]
    for finding in findings:
        tell(finding)
    return findings


def _aloud(finding: Finding) -> None:
    click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject:<14} {finding.text}")


def _quietly(_finding: Finding) -> None:
    """Say nothing: all findings are printed together."""


async def _nothing(text: str) -> list[Finding]:
    return [Finding("the rest", False, text)]


async def _database(database: Database) -> list[Finding]:
    facts = await inspect_database(database)
    needed = "" if facts.version_number >= OLDEST_POSTGRES else ": 15 or later is needed"
    return [
        Finding("database", facts.version_number >= OLDEST_POSTGRES, f"PostgreSQL {facts.version}{needed}"),
        _role(facts),
        Finding(
            "project roles",
            not facts.missing,
            f"missing: {', '.join(facts.missing)}. On a plain PostgreSQL run `refreshd migrate --create-roles`"
            if facts.missing
            else "anon, authenticated, service_role and publication supabase_realtime are there",
        ),
    ]


def _role(facts: DatabaseFacts) -> Finding:
    if not facts.is_member:
        return Finding("role", False, f"{facts.login} has not the role refreshd_daemon: run `refreshd migrate`")
    if facts.is_superuser:
        return Finding(
            "role", True, f"{facts.login} is a superuser, which the daemon does not need: give it a login of its own"
        )
    return Finding("role", True, f"{facts.login} has the role refreshd_daemon and is no superuser")


async def _schema(database: Database) -> list[Finding]:
    version = await check_version(database)
    symbols = await database.fetchval("select count(*) from supported_symbols where is_active")
    return [
        Finding("schema", True, f"version {version}"),
        Finding(
            "symbols",
            symbols > 0,
            f"{symbols} in the allow-list" if symbols else "none: run `refreshd seed symbols FILE`",
        ),
    ]


async def _limits(settings: Settings, database: Database) -> list[Finding]:
    """Compare what is configured with what is in force; change nothing."""
    own = upstream_limits(settings)
    text = f"{own.calls_per_minute} calls a minute, {own.bytes_per_30_days:,} bytes in 30 days"
    in_force = await read_limits(database, UPSTREAM)
    if in_force is None:
        return [Finding("limits", True, f"{text}; no daemon is running")]
    if in_force != own:
        other = f"{in_force.calls_per_minute} calls, {in_force.bytes_per_30_days:,} bytes"
        if (in_force.calls_per_minute, in_force.bytes_per_30_days) == (own.calls_per_minute, own.bytes_per_30_days):
            other = f"first view share {in_force.first_view_share:g} and price step {in_force.price_step:g}"
        return [Finding("limits", False, f"{text}; but a running daemon has others, and {other} are in force")]
    return [Finding("limits", True, f"{text}, in force")]


async def _calls(database: Database) -> list[Finding]:
    verdict = await read_verdict(database, UPSTREAM)
    if verdict.held_by in {None, "no_limits"}:
        return [Finding("calls", True, "nothing holds them")]
    return [Finding("calls", False, f"held by {verdict.held_by}: {verdict.reason}")]


async def _plug_ins(table: FetcherTable) -> list[Finding]:
    """Name what was installed beside this version; say nothing where that is nothing."""
    good = [Finding("plug-in", True, f"{origin} has the fetcher {name}") for name, origin in table.plug_ins.items()]
    return good + [Finding("plug-in", False, problem) for problem in table.problems]


async def _flags(database: Database, table: FetcherTable) -> list[Finding]:
    flags = await read_flags(database)
    types = [name for name, enabled in flags.types.items() if enabled]
    if flags.idle:
        return [Finding("flags", True, f"idle: flags off. {TURN_ON_HINT}")]
    presence = "on" if flags.use_presence_tracking else "off"
    findings = [Finding("flags", True, f"presence {presence}; types {', '.join(types)}")]
    names = {row["data_type"]: row["fetcher"] for row in await list_types(database)}
    if missing := [name for name in types if names[name] not in table.fetchers]:
        text = f"none in this version for {', '.join(missing)}: their jobs would wait for ever, turn their flags off"
        findings.append(Finding("fetchers", False, text))
    return findings


async def _realtime(settings: Settings) -> list[Finding]:
    problem = await probe_realtime(
        settings.supabase_url,
        settings.supabase_service_role_key.get_secret_value(),
        topic="viewers:0",
        clock=DatabaseClock(),
    )
    if problem is not None:
        return [Finding("Realtime", False, f"{problem}: check SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY and the network")]
    return [Finding("Realtime", True, "joined viewers:0 as a private channel")]


async def probe_upstream(settings: Settings, database: Database) -> list[Finding]:
    """Make one real call, paid for like any other."""
    received = 0

    def meter(count: int) -> None:
        nonlocal received
        received += count

    instance = f"{settings.instance}/check"
    async with limits_in_force(database, settings, instance):
        reservation = await reserve_call(database, UPSTREAM, PROBE_BYTES, instance)
    client = HttpUpstream(
        settings.upstream_url,
        settings.fmp_api_key.get_secret_value(),
        version=f"{__version__}-check",
        allow_loopback=settings.allow_loopback_upstream,
    )
    try:
        async with client:
            await client.attempt("quote", {"symbol": PROBE_SYMBOL}, meter=meter)
    except FetchError as error:
        return _upstream_problem(error)
    finally:
        await settle(database, [Settlement(reservation, 1, received)])
    return [Finding("network", True, f"the upstream answered ({received} bytes)"), Finding("key", True, "accepted")]


def _upstream_problem(error: FetchError) -> list[Finding]:
    if error.kind in {FetchErrorKind.TIMEOUT, FetchErrorKind.TRANSPORT}:
        return [
            Finding("network", False, f"the upstream cannot be reached, check the outbound network: {error}"),
            Finding("key", False, "not looked at, since the upstream cannot be reached"),
        ]
    if error.kind is FetchErrorKind.RATE_LIMITED:
        text = "accepted, but the calls of this minute are used up by somebody else with this key"
        return [Finding("network", True, "the upstream answered"), Finding("key", True, text)]
    is_key = error.kind is FetchErrorKind.UNAUTHORISED
    hint = "the key is wrong, check FMP_API_KEY: " if is_key else ""
    return [
        Finding("network", True, "the upstream answered"),
        Finding("key" if is_key else "upstream", False, f"{hint}{error}"),
    ]
