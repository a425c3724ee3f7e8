"""The life of the daemon: from settings to an exit code, with its signals. What it consists of is in ``assembly``."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from enum import IntEnum
from types import FrameType

import structlog

from daemon import __version__, crash_points
from daemon.assembly import Base, Rereader, build_client, build_services, load_all, tell_of_plug_ins
from daemon.contracts import ConfigurationError, StoreUnavailableError
from daemon.fetchers.plug_ins import load_fetchers
from daemon.flags import FlagBoard
from daemon.health.judge import Phase
from daemon.outage import Outage
from daemon.presence.collection import collect_all
from daemon.presence.service_key import KeyReader
from daemon.processor.calls import CallWatch
from daemon.processor.drift import DriftWatch
from daemon.refresh.estimates import Estimates, SessionLength
from daemon.refresh.markets import Markets
from daemon.service import run_all, wait_or_stop
from daemon.settings import Settings
from daemon.settings_board import SettingsBoard
from daemon.store.budgets import retire_instance
from daemon.store.catalogue import StoredCatalogue
from daemon.store.clock import DatabaseClock
from daemon.store.database import Database
from daemon.store.estimates import read_estimates
from daemon.store.migrate import check_version
from daemon.store.queue import recover_own_jobs
from daemon.systemd import Notifier

DRAIN_SECONDS = 15.0
RETIRE_SECONDS = 2.0
EXIT_SECONDS = 19.0
"""After so long a stop ends the process, whatever is frozen; where its threads stood is told then."""

START_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)

log = structlog.get_logger()


class ExitCode(IntEnum):
    """What the process tells systemd: only 78 (EX_CONFIG of sysexits.h) keeps it from starting again."""

    STOPPED = 0
    FAILED = 1
    CONFIGURATION = 78


async def run(settings: Settings, reread: Rereader) -> ExitCode:
    """Run the daemon until a signal asks it to stop.

    Errors are logged, not raised: the exit code tells the caller.

    Args:
        settings: As they were loaded.
        reread: Reads them again, at a reload and when a service key has been replaced.
    """
    faulthandler.enable()  # so that an end by the watchdog, or by a fault in C, leaves a traceback
    crash_points.arm(settings.crash_point)
    log.info("starting", version=__version__, instance=settings.instance)
    with closing(Notifier.from_environment()) as notifier:
        return await _run_telling(settings, reread, notifier)


async def _run_telling(settings: Settings, reread: Rereader, notifier: Notifier) -> ExitCode:
    """Run, and tell systemd and the log how it goes."""
    stop, reload, phase = asyncio.Event(), asyncio.Event(), Phase()

    def begin() -> None:
        log.info("stopping", running_for_at_most_seconds=EXIT_SECONDS)
        notifier.stopping()
        phase.name, phase.reason = "draining", "asked to stop"

    with _signals(stop, reload, begin):
        try:
            await _run(settings, reread, notifier, phase, stop, reload)
        except Exception as error:
            if (mistake := _mistake_in(error)) is not None:
                notifier.status(f"configuration refused: {mistake}")
                log.critical("configuration_refused", error=str(mistake))
                return ExitCode.CONFIGURATION
            notifier.status(f"died: {error}")
            log.critical("died", error=str(error), exc_info=True)
            return ExitCode.FAILED
    log.info("stopped")
    return ExitCode.STOPPED


def _mistake_in(error: BaseException) -> ConfigurationError | None:
    """Return the operator's mistake behind ``error``, also from within the groups that services raise."""
    if isinstance(error, ConfigurationError):
        return error
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return next((mistake for member in members if (mistake := _mistake_in(member)) is not None), None)


async def _run(
    settings: Settings,
    reread: Rereader,
    notifier: Notifier,
    phase: Phase,
    stop: asyncio.Event,
    reload: asyncio.Event,
) -> None:
    def read_key() -> str:
        return reread().supabase_service_role_key.get_secret_value()

    async with AsyncExitStack() as stack:
        clock, catalogue = DatabaseClock(), StoredCatalogue()
        markets = Markets(lambda: catalogue.types, catalogue.exchange_of, clock, catalogue.exchanges)
        base = Base(
            settings=settings,
            settings_board=SettingsBoard(settings),
            reread=reread,
            phase=phase,
            notifier=notifier,
            database=await stack.enter_async_context(
                Database(settings.database_url.get_secret_value(), max_connections=settings.concurrency + 6)
            ),
            clock=clock,
            catalogue=catalogue,
            board=FlagBoard(),
            client=await stack.enter_async_context(build_client(settings)),
            holder=f"{settings.instance}/{secrets.token_hex(4)}",
            key=KeyReader(settings.supabase_service_role_key.get_secret_value(), read_key),
            estimates=Estimates(
                SessionLength(
                    clock,
                    first_seconds=settings.mean_session_seconds,
                    leave_grace_seconds=settings.leave_grace_seconds,
                )
            ),
            markets=markets,
            drift=DriftWatch(),
            calls=CallWatch(),
            fetchers=load_fetchers(book=markets, now=clock.now),
        )
        tell_of_plug_ins(base.fetchers)
        await _serve(base, stop, reload)


async def _serve(base: Base, stop: asyncio.Event, reload: asyncio.Event) -> None:
    """Run what is seen from outside all the time, and the services once PostgreSQL can be worked with."""
    built = build_services(base, reload)
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_all(built.front, over), name="front")
        try:
            if await _prepare(base, stop):
                base.phase.name, base.phase.reason = "running", ""
                base.notifier.ready("started")
                await run_all(built.services, stop, grace_seconds=DRAIN_SECONDS)
                await _retire(base)
        finally:
            over.set()


async def _retire(base: Base) -> None:
    try:
        async with asyncio.timeout(RETIRE_SECONDS):
            await retire_instance(base.database, base.settings.instance)
    except (StoreUnavailableError, TimeoutError) as error:
        log.warning("limits_left_behind", error=str(error), hint="they end by themselves within five minutes")


async def _prepare(base: Base, stop: asyncio.Event) -> bool:
    """Wait until PostgreSQL can be worked with and read what is needed first; return False when stopped before."""
    outage = Outage("startup", "check DATABASE_URL, the server and the network; it is tried again until it works")
    waits = iter(START_RETRY_SECONDS)
    seconds = 0.0
    while not await wait_or_stop(stop, seconds):
        try:
            version = await check_version(base.database)
            await load_all(base)
            base.estimates.restore(await read_estimates(base.database))
            recovered = await recover_own_jobs(base.database, base.holder)
        except StoreUnavailableError as error:
            outage.failed(error)
            base.phase.reason = str(error)
            base.notifier.status(f"waiting: {error}")
            seconds = next(waits, START_RETRY_SECONDS[-1])
        else:
            outage.passed()
            base.database.mark_started()
            base.phase.schema_version = version
            log.info(
                "started",
                holder=base.holder,
                schema_version=version,
                symbols=base.catalogue.symbol_count,
                recovered_jobs=recovered,
            )
            base.board.log_if_idle()
            await collect_all()  # what is there for good need not be looked at by every full collection
            return True
    return False


@contextmanager
def _signals(stop: asyncio.Event, reload: asyncio.Event, begin: Callable[[], None]) -> Iterator[None]:
    """Turn SIGTERM and SIGINT into ``stop``, a second one into an exit at once, and SIGHUP into ``reload``.

    The first of them is noted between two instructions, not by the event loop: it may be the loop that is blocked.

    Args:
        stop: Set by the loop as soon as it can.
        reload: Set at SIGHUP.
        begin: Called just before ``stop`` is set.
    """
    loop = asyncio.get_running_loop()
    asked = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(ExitCode.FAILED)
        asked = True
        faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True)
        signal.setitimer(signal.ITIMER_REAL, EXIT_SECONDS + 1)  # should even that be blocked, behind a full pipe
        loop.call_soon_threadsafe(drain)

    def drain() -> None:
        begin()
        stop.set()

    ends = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, end) for number in ends}
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        loop.remove_signal_handler(signal.SIGHUP)
        for number, handler in before.items():
            signal.signal(number, handler)
