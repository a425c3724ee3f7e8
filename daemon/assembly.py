"""The assembly: builds every part of the daemon and joins them. ``main`` gives it life."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from daemon import __version__, assembly_web
from daemon.contracts import DemandChange, DemandSink, FinishedSink, Flags
from daemon.fetchers.client import HttpUpstream
from daemon.fetchers.plug_ins import FetcherTable
from daemon.flags import FlagBoard
from daemon.health.heartbeat import Heartbeat
from daemon.health.judge import Health, Phase, Timed
from daemon.health.metrics import VitalsCollector
from daemon.health.vitals import CRON_SECONDS, Vitals
from daemon.health.vitals import INTERVAL_SECONDS as VITALS_SECONDS
from daemon.health.watchdog import Watchdog
from daemon.later import Later
from daemon.loop_lag import LoopLag
from daemon.migration.metrics import MoveCollector
from daemon.migration.phases import under_way, watch_seconds
from daemon.migration.watch import MoveWatch
from daemon.presence import tuning as presence_tuning
from daemon.presence.collection import collect_all
from daemon.presence.listener import PresenceListener
from daemon.presence.metrics import PresenceCollector
from daemon.presence.service_key import KeyReader
from daemon.presence.shards import Layout
from daemon.processor import tuning
from daemon.processor.breaker import Breaker
from daemon.processor.calls import CallWatch
from daemon.processor.dispatch import Dispatcher
from daemon.processor.drift import DriftWatch
from daemon.processor.loop import Hold, Processor
from daemon.processor.metrics import DriftCollector
from daemon.processor.spending import Spender
from daemon.refresh.analytics import SubscriptionWriter
from daemon.refresh.demand import DemandBook
from daemon.refresh.estimates import Estimates
from daemon.refresh.gate import Gate
from daemon.refresh.maintenance import Maintenance
from daemon.refresh.markets import Markets
from daemon.refresh.periodic import Periodic
from daemon.refresh.scheduled import ScheduledWork
from daemon.refresh.staleness import StalenessChecker
from daemon.reload import Reloader
from daemon.service import Service
from daemon.settings import Settings
from daemon.settings_board import SettingsBoard
from daemon.settings_values import listen_address, words
from daemon.store.catalogue import StoredCatalogue
from daemon.store.clock import DatabaseClock
from daemon.store.database import Database
from daemon.store.demand import sweep
from daemon.store.estimates import write_estimates
from daemon.store.exchanges import read_exchanges
from daemon.store.flags import read_flags
from daemon.store.shards import StoredShards
from daemon.systemd import Notifier
from daemon.web.dashboard_access import Access
from daemon.web.dashboard_routes import add_dashboard_routes
from daemon.web.server import WebServer
from daemon.web.subscriptions_routes import add_subscription_routes

UPSTREAM = "fmp"
UPKEEP_SECONDS = 60.0
COLLECTION_SECONDS = 86_400.0
RENEW_AFTER_ADMISSION_SECONDS = 60.0

log = structlog.get_logger()


class Rereader(Protocol):
    """Reads the settings again, and changes the level of the log."""

    def __call__(self) -> Settings:
        """Return fresh settings; errors as :func:`daemon.settings.load_settings`."""
        ...

    def use_level(self, settings: Settings) -> None:
        """Log from the level of ``settings`` upwards."""
        ...

    def log_lines(self) -> tuple[int, int]:
        """Return how many lines could not be written, and how many were left out in a flood."""
        ...


@dataclass(frozen=True, slots=True)
class Base:
    """What everything is built on."""

    settings: Settings
    """As of the start; what may change meanwhile is on the board."""
    settings_board: SettingsBoard
    reread: Rereader
    phase: Phase
    notifier: Notifier
    database: Database
    clock: DatabaseClock
    catalogue: StoredCatalogue
    board: FlagBoard
    client: HttpUpstream
    holder: str
    key: KeyReader
    estimates: Estimates
    markets: Markets
    drift: DriftWatch
    calls: CallWatch
    fetchers: FetcherTable


async def load_all(base: Base) -> None:
    """Read clock, registry and flags."""
    await base.clock.synchronise(base.database)
    flags, exchanges = await read_flags(base.database), await read_exchanges(base.database)
    await base.catalogue.load(base.database)  # the last that can fail: where anything does, all of it is as it was
    base.markets.load(exchanges)
    base.board.update(flags)
    _tell_of_missing_fetchers(base)


def tell_of_plug_ins(table: FetcherTable) -> None:
    """Say which plug-ins were loaded, and which were refused and why."""
    for name, origin in table.plug_ins.items():
        log.info("plug_in_loaded", fetcher=name, origin=origin)
    for problem in table.problems:
        log.error("plug_in_refused", problem=problem, hint="repair or uninstall it; everything else works without it")


def _tell_of_missing_fetchers(base: Base) -> None:
    """Say which types are turned on that this version cannot fetch: their jobs would wait for ever."""
    types = base.catalogue.types.values()
    if missing := [known.name for known in types if known.enabled and known.fetcher not in base.fetchers.fetchers]:
        hint = (
            "neither this version nor a plug-in has a fetcher for them and their jobs stay pending: turn their"
            " migrate_<type>_type flags off"
        )
        log.warning("types_without_fetcher", data_types=missing, hint=hint)


@dataclass(frozen=True, slots=True)
class Built:
    """Everything that runs."""

    services: Sequence[Service]
    """What works, from when PostgreSQL answers until the stop."""
    front: Sequence[Service]
    """What is seen from outside: from the very beginning, while it drains, and in an outage."""


def build_services(base: Base, reload: asyncio.Event) -> Built:
    """Build every service and join them: presence tells demand, demand makes jobs, jobs make calls."""
    book = DemandBook(
        lambda: base.catalogue.types,
        lambda: base.estimates.session.mean_seconds,
        base.clock.monotonic,
        base.markets.fresh_seconds,
    )
    vitals = Vitals(base.database, book.viewers, base.clock)
    work = asyncio.Event()
    staleness = StalenessChecker(
        base.database,
        book,
        base.clock,
        enabled=lambda: base.board.flags.use_new_staleness_check and base.board.flags.use_queue_system,
        on_queued=work.set,
    )
    writer = SubscriptionWriter(
        base.database, base.holder, book, base.clock, flush_seconds=base.settings.analytics_flush_seconds
    )

    def on_demand(change: DemandChange) -> None:
        base.estimates.session.note_demand(change)
        staleness.note_demand(change)
        writer.note_demand(change)

    listener = _listener(base, on_demand)
    for told in (listener.wake, staleness.check_all, work.set, base.board.log_if_idle):
        base.board.on_change(told)
    base.catalogue.on_change(lambda: listener.renew("catalogue_changed"))

    spender = _spender(base)
    processor, dispatcher = _processor(base, work, spender, staleness.note_finished)
    gate = Gate(base.database, UPSTREAM, base.settings.instance, tuning.upstream_limits(base.settings), work.set)

    def apply(settings: Settings) -> None:
        base.reread.use_level(settings)
        dispatcher.use(tuning.due_rules(settings))
        book.use(long_run_seconds=settings.usual_viewers_seconds, horizon_seconds=settings.usual_horizon_seconds)
        gate.use(tuning.upstream_limits(settings))

    apply(base.settings)
    base.settings_board.on_change(apply)

    async def load() -> None:
        settings = base.reread()
        listener.check_key()
        await load_all(base)
        base.settings_board.update(settings)

    settings = base.settings
    moves = MoveWatch(base.database, settings.migration_sample_seconds, watch_seconds(settings.migration_watch_hours))
    timed = _periodic(base, work, gate, vitals, moves)
    working = [listener, staleness, writer, processor, *timed]
    health = Health(
        base.clock,
        base.phase,
        flags=lambda: _flags_now(base, vitals),
        presence=listener.status,
        snapshot=lambda: vitals.latest,
        parts=working,
        timed=timed,
        cron_jobs=words(base.settings.cron_jobs),
        migration=lambda: under_way(moves.latest),
    )
    registry = _metrics(base, listener, staleness, timed, health, vitals)
    registry.register(MoveCollector(lambda: moves.latest))
    shown = assembly_web.dashboard(base.database, base.clock, health.detail, lambda: listener.status().connections)
    token = assembly_web.dashboard_token(base.settings)
    pages = [_pages(base, listener, spender, work), lambda app: add_dashboard_routes(app, shown, token)]
    return Built(
        [*working, Reloader(reload, load, base.notifier, health.summary)],
        [shown, *_front(base, health, registry, pages, Access(token))],
    )


def _flags_now(base: Base, vitals: Vitals) -> Flags:
    """Return the flags as they hold in the database, and before the first look at it those that were read."""
    return base.board.flags if vitals.latest is None else vitals.latest.flags


def _pages(
    base: Base, listener: PresenceListener, spender: Spender, work: asyncio.Event
) -> Callable[[web.Application], None]:
    """Build what pages ask over HTTP."""
    renewal = Later(RENEW_AFTER_ADMISSION_SECONDS, lambda: listener.renew("catalogue_changed"))

    async def reload() -> None:
        # Sessions read presence afresh for the new symbol, but not for each one: connections are rationed.
        if await base.catalogue.load(base.database, tell=False):
            renewal.ask()

    def is_wanted() -> bool:
        flags = base.board.flags
        return flags.use_queue_system and flags.types.get(assembly_web.VERIFIER, False)

    profiles = base.fetchers.fetchers[assembly_web.VERIFIER]
    gate = assembly_web.admission_gate(base.settings, base.database, spender, profiles, base.clock, reload, is_wanted)
    routes = assembly_web.subscription_routes(
        base.settings,
        base.database,
        base.catalogue,
        base.clock,
        gate,
        on_queued=work.set,
        is_open=lambda: base.phase.name == "running",
    )
    return lambda app: add_subscription_routes(app, routes)


def _front(
    base: Base,
    health: Health,
    registry: CollectorRegistry,
    extend: Sequence[Callable[[web.Application], None]],
    access: Access,
) -> list[Service]:
    """Build what measures the daemon and shows how it is."""
    settings = base.settings
    return [
        LoopLag(base.clock, registry),
        Watchdog(base.notifier, health),
        Heartbeat(
            settings.heartbeat_url.get_secret_value() or None,
            settings.heartbeat_url_seconds,
            health.ready,
            f"refreshd/{__version__}",
        ),
        WebServer(listen_address(settings.http_listen), registry, health, extend, access),
    ]


def _metrics(
    base: Base,
    listener: PresenceListener,
    staleness: StalenessChecker,
    timed: Sequence[Timed],
    health: Health,
    vitals: Vitals,
) -> CollectorRegistry:
    """Register everything that is measured."""
    registry = CollectorRegistry()
    for own in (ProcessCollector, GCCollector):
        own(registry=registry)
    for collector in (
        PresenceCollector(listener.status),
        DriftCollector(base.drift),
        base.calls,
        staleness.arrivals,
        VitalsCollector(
            base.clock,
            snapshot=lambda: vitals.latest,
            flags=lambda: _flags_now(base, vitals),
            timed=timed,
            ready=health.ready,
            alive=health.alive,
            connections=lambda: base.database.connections,
            log_lines=base.reread.log_lines,
        ),
    ):
        registry.register(collector)
    return registry


def _listener(base: Base, on_demand: DemandSink) -> PresenceListener:
    settings = base.settings
    return PresenceListener(
        url=settings.supabase_url,
        key=base.key,
        layout=Layout(lobbies=settings.lobby_shards, groups=settings.symbol_shards),
        shards=StoredShards(base.database, base.holder, lease_seconds=math.ceil(settings.shard_lease_seconds)),
        catalogue=base.catalogue,
        sink=on_demand,
        enabled=lambda: base.board.flags.use_presence_tracking,
        clock=base.clock,
        rng=random.Random(),  # noqa: S311 - jitter is no secret
        rules=presence_tuning.viewer_rules(settings, base.clock),
        limits=presence_tuning.limits(settings),
        patience=presence_tuning.patience(settings),
    )


def _spender(base: Base) -> Spender:
    breaker = Breaker(base.database, UPSTREAM, tuning.breaker_limits(base.settings), base.clock)
    return Spender(base.database, UPSTREAM, base.holder, base.client, breaker, base.clock, base.calls)


def _processor(
    base: Base, work: asyncio.Event, spender: Spender, on_finished: FinishedSink
) -> tuple[Processor, Dispatcher]:
    settings = base.settings
    hold = Hold(base.clock)
    dispatcher = Dispatcher(
        base.database,
        {UPSTREAM: spender},
        base.fetchers.fetchers,
        base.clock,
        tuning.due_rules(settings),
        base.estimates,
        base.drift,
        base.calls,
        on_finished=on_finished,
        on_refused=hold.extend,
        hours_of=base.markets.hours_of,
    )
    limits = tuning.processor_limits(settings)
    return Processor(base.database, base.holder, work, dispatcher, hold, limits, base.clock), dispatcher


def _periodic(
    base: Base, work: asyncio.Event, gate: Gate, vitals: Vitals, moves: MoveWatch
) -> list[Periodic | Maintenance]:
    """Build the parts behind the events: sweep, gate, schedules, retention, and the upkeep of what the daemon knows."""

    async def sweep_once() -> None:
        if await sweep(base.database):
            work.set()

    async def keep_up() -> None:
        await base.clock.synchronise(base.database)
        await base.catalogue.load(base.database)
        base.markets.load(await read_exchanges(base.database))
        await write_estimates(base.database, base.estimates.known())

    settings = base.settings
    scheduled = ScheduledWork(base.database, base.clock, work.set)
    return [
        Periodic("gate", settings.recovery_interval_seconds, gate.turn, base.clock),
        Periodic("sweep", settings.sweep_interval_seconds, sweep_once, base.clock),
        Periodic("scheduled", settings.scheduled_interval_seconds, scheduled.turn, base.clock),
        Periodic("upkeep", UPKEEP_SECONDS, keep_up, base.clock),
        Periodic("vitals", VITALS_SECONDS, vitals.turn, base.clock),
        Periodic("cron", CRON_SECONDS, vitals.look_at_cron, base.clock),
        Periodic("migration", settings.migration_sample_seconds, moves.turn, base.clock),
        Periodic("collection", COLLECTION_SECONDS, collect_all, base.clock),
        Maintenance(base.database, base.clock, settings.maintenance_schedule),
    ]


def build_client(settings: Settings) -> HttpUpstream:
    """Return the client to the upstream, as the settings say; not started yet."""
    return HttpUpstream(
        settings.upstream_url,
        settings.fmp_api_key.get_secret_value(),
        version=__version__,
        timeout_seconds=settings.request_timeout_seconds,
        max_bytes=settings.max_response_bytes,
        allow_loopback=settings.allow_loopback_upstream,
        max_connections=settings.concurrency,
    )
