"""What the tests of the dashboard play on. ``python -m tests.web.dashboard_stage`` takes the pictures in ``docs``."""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from aiohttp import web
from playwright.async_api import Browser, Page

from daemon.contracts import Flags, Pair, StoreUnavailableError
from daemon.health.judge import Health, Phase
from daemon.health.vitals import Vitals
from daemon.migration.phases import under_way
from daemon.presence.status import ConnectionStatus, PresenceStatus, ShardStatus
from daemon.store.database import Database
from daemon.store.flags import read_flags
from daemon.store.moves import Move, list_moves
from daemon.store.top_pairs import read_outcomes, read_top_pairs
from daemon.web.dashboard import Dashboard
from daemon.web.dashboard_history import EVERY_SECONDS, POINTS, History, Point
from daemon.web.dashboard_routes import add_dashboard_routes
from devstack.postgres import EmbeddedPostgres
from tests.browser.tabs import chromium
from tests.databases import database_of, make_template
from tests.presence.stage import RealClock
from tests.rows import make_ready

Scheme: TypeAlias = Literal["light", "dark"]
DOCS = Path(__file__).parents[2] / "docs"
SYMBOLS = ("AAPL", "NVDA", "MSFT", "TSLA", "AMZN", "META", "GOOGL", "AMD", "BRK-B", "JPM", "NFLX", "PLTR", "COST",
           "INTC", "KO", "DIS")  # fmt: skip
DATA_TYPES = ("quote", "profile", "ratios-ttm", "grades-historical")

_SUBSCRIBE = """
insert into active_subscriptions_v2 (user_id, symbol, data_type, source)
select 'user:' || n, $1, $2, 'viewers:' || n % 2 from generate_series(1, $3) n
"""
_STATE = """
insert into refresh_state_v2 (symbol, data_type, last_success_at, last_checked_at, last_outcome, consecutive_failures,
                              fresh_until, next_due_at)
select $1, $2, now() - make_interval(secs => $3), now() - make_interval(secs => $3), $4, $5,
       now() + make_interval(secs => $6), now() + make_interval(secs => $7)
"""
_FINISHED = """
insert into api_call_queue_v2 (symbol, data_type, status, lane, priority, gain, created_at, claimed_at,
                               finished_at, outcome, error_message)
select 'AAPL', $1, case when $2 = 'failed' then 'failed' else 'completed' end, 1, 1, 1,
       now() - make_interval(secs => n * $4::float8 + 3), now() - make_interval(secs => n * $4::float8 + 1),
       now() - make_interval(secs => n * $4::float8), $2, $5
from generate_series(0, $3 - 1) n
"""
_USAGE = """
insert into api_data_usage_v2 (upstream, holder, reserved_at, settled_at, calls, bytes)
select 'fmp', 'test/1', now() - make_interval(secs => n * 0.25), now(), 1, 2100 from generate_series(0, 900) n
"""
_HOURS = """
insert into api_usage_hours_v2 (upstream, hour, calls, bytes)
select 'fmp', date_trunc('hour', now()) - make_interval(hours => n), 9000, 14000000 from generate_series(2, 700) n
"""


@dataclass
class Stage:
    """The dashboard on a socket, and what it looks at."""

    database: Database
    clock: RealClock
    dashboard: Dashboard
    vitals: Vitals
    flags: Flags
    presence: PresenceStatus
    port: int = 0
    fails: set[str] = field(default_factory=set)
    """What is to fail: ``detail``, ``top_pairs``, ``vitals``."""
    viewers: dict[Pair, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What the page's console says."""
    moves: Sequence[Move] = ()
    token: str | None = None
    slow_seconds: float = 10.0

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    async def look(self) -> None:
        """Have the vitals look once, as they do every few seconds."""
        rows = await self.database.fetch("select symbol, data_type, viewers from viewers_v2")
        self.viewers.clear()
        self.viewers |= {Pair(row["symbol"], row["data_type"]): row["viewers"] for row in rows}
        self.flags = await read_flags(self.database)
        self.moves = await list_moves(self.database)
        await self.vitals.turn()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Answer on the port, which is the same every time."""
        app = web.Application()
        add_dashboard_routes(app, self.dashboard, self.token, slow_seconds=self.slow_seconds)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    @contextlib.asynccontextmanager
    async def open(self, browser: Browser, *, scheme: Scheme = "light", width: int = 1280) -> AsyncIterator[Page]:
        """Open the page and wait until it shows a look with everything in it."""
        context = await browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}, device_scale_factor=1, locale="en-GB"
        )
        page = await context.new_page()
        page.on("console", lambda message: self.problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        await page.goto(self.url)
        await page.wait_for_function("() => !document.querySelector('#top.past')")
        try:
            yield page
        finally:
            await context.close()


@contextlib.asynccontextmanager
async def staged(
    database: Database,
    *,
    every_seconds: float = 0.1,
    history: History | None = None,
    max_watchers: int = 200,
    token: str | None = None,
    slow_seconds: float = 10.0,
) -> AsyncIterator[Stage]:
    """Run a dashboard of what is in the database, without a socket yet."""
    clock, phase, viewers = RealClock(), Phase("running", "", 1), dict[Pair, int]()
    vitals = Vitals(database, lambda: viewers, clock)

    def detail() -> Mapping[str, Any]:
        if "detail" in stage.fails:
            raise LookupError("told to fail")
        return health.detail()

    async def top_pairs() -> Sequence[Mapping[str, Any]]:
        if "top_pairs" in stage.fails:
            raise StoreUnavailableError("told to fail")
        return await read_top_pairs(database)

    async def outcomes() -> Sequence[Mapping[str, Any]]:
        return await read_outcomes(database)

    health = Health(
        clock,
        phase,
        flags=lambda: stage.flags,
        presence=lambda: stage.presence,
        snapshot=lambda: vitals.latest,
        parts=[],
        timed=[],
        migration=lambda: under_way(stage.moves),
    )
    dashboard = Dashboard(
        clock,
        detail=detail,
        sessions=lambda: stage.presence.connections,
        top_pairs=top_pairs,
        outcomes=outcomes,
        every_seconds=every_seconds,
        look_up_seconds=every_seconds,
        history=history,
        max_watchers=max_watchers,
    )
    stage = Stage(
        database,
        clock,
        dashboard,
        vitals,
        Flags(),
        calm_presence(),
        viewers=viewers,
        token=token,
        slow_seconds=slow_seconds,
    )
    await stage.look()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(dashboard.run(stop))
        try:
            yield stage
        finally:
            stop.set()


def calm_presence() -> PresenceStatus:
    """Return presence as it is when all is well."""
    return PresenceStatus(
        enabled=True,
        shards={"viewers:0": ShardStatus(1, 1, 1_204), "viewers:1": ShardStatus(1, 1, 1_187)},
        connections=[
            ConnectionStatus(1, 5_412.0, 1, 1, {"renewed": 4}, {}),
            ConnectionStatus(2, 1_210.0, 1, 1, {"renewed": 3, "silent": 1}, {"closed": 1}),
        ],
        drops={"unknown_symbol": 3},
        largest_state=1_204,
    )


async def subscribe(owner: Database, pair: Pair, viewers: int) -> None:
    """Have so many viewers look at a pair."""
    await owner.execute(_SUBSCRIBE, *pair, viewers)


async def set_state(
    owner: Database,
    pair: Pair,
    *,
    age: float = 10,
    fresh_for: float = 50,
    due_in: float = 45,
    outcome: str = "changed",
    failures: int = 0,
) -> None:
    """Write down how a pair stands; times in seconds from now."""
    await owner.execute(_STATE, *pair, age, outcome, failures, fresh_for, due_in)


async def finish_jobs(
    owner: Database, data_type: str, outcome: str, jobs: int, *, apart: float = 1.0, error: str | None = None
) -> None:
    """Have jobs ended lately."""
    await owner.execute(_FINISHED, data_type, outcome, jobs, apart, error)


async def fill(owner: Database) -> None:
    """Write a busy afternoon into the database."""
    chance = random.Random(7)
    await make_ready(owner, SYMBOLS, calls=300)
    await owner.execute("update feature_flags set enabled = false where flag_name = 'migrate_shares_float_type'")
    for rank, symbol in enumerate(SYMBOLS):
        for kind, data_type in enumerate(DATA_TYPES):
            viewers = int(620 / (rank + 1.4) ** 1.15 * (1, 0.42, 0.11, 0.05)[kind])
            if viewers:
                await subscribe(owner, Pair(symbol, data_type), viewers)
                await _state_of(owner, Pair(symbol, data_type), (60, 86_400, 86_400, 2_592_000)[kind], chance)
    await _work(owner)


async def _state_of(owner: Database, pair: Pair, ttl: float, chance: random.Random) -> None:
    age = ttl * chance.uniform(0.02, 0.85)
    if pair == Pair("PLTR", "quote"):
        await set_state(owner, pair, age=94, fresh_for=-34, due_in=-38)
    elif pair == Pair("BRK-B", "quote"):
        await set_state(owner, pair, age=1_310, fresh_for=-1_250, due_in=611, outcome="failed", failures=2)
    elif pair != Pair("META", "profile"):
        await set_state(owner, pair, age=age, fresh_for=ttl - age, due_in=ttl - age - 4)


async def _work(owner: Database) -> None:
    for outcome, jobs, apart in (("changed", 9_214, 0.38), ("unchanged", 1_507, 2.3), ("rejected", 12, 200.0)):
        await finish_jobs(owner, "quote", outcome, jobs, apart=apart)
    await finish_jobs(owner, "quote", "failed", 2, apart=1_300, error="quote of BRK-B: upstream_error: status 502")
    await finish_jobs(owner, "profile", "changed", 61, apart=55)
    await finish_jobs(owner, "profile", "unchanged", 212, apart=16)
    await finish_jobs(owner, "ratios-ttm", "changed", 44, apart=70)
    await finish_jobs(owner, "grades-historical", "empty", 3, apart=900)
    queued = [Pair("PLTR", "quote"), Pair("META", "profile"), Pair("INTC", "quote"), Pair("KO", "quote")]
    await owner.fetch(
        "select * from queue_refreshes_v2($1, $2, $3)",
        [pair.symbol for pair in queued],
        [pair.data_type for pair in queued],
        [3, 2, 2, 1],
    )
    await owner.execute(_USAGE)
    await owner.execute(_HOURS)
    await owner.execute("update upstreams_v2 set price_calls = 1.84, price_bytes = 0.031, bytes_ceiling = 9890000000")


def afternoon(now: float) -> History:
    """Return a history of six hours, with a burst, a gap, and an end like what the database says."""
    chance, history = random.Random(3), History()
    level = 0.012
    for index in range(POINTS - 1):
        at = now - EVERY_SECONDS * (POINTS - 1 - index)
        level = max(0.002, min(0.05, level + chance.gauss(0, 0.0012)))
        burst = 0.09 * math.exp(-(((index - 430) / 16) ** 2))
        rise = 0.024 / (1 + math.exp((690 - index) / 6))
        overall = level + burst + rise
        by_type = {name: max(0.0, overall * share + chance.gauss(0, 0.001))
                   for name, share in zip(DATA_TYPES, (1.3, 0.35, 0.2, 0.1), strict=True)}  # fmt: skip
        known = not 250 < index < 262
        history.note(index * EVERY_SECONDS - 1e9, Point(at, overall if known else None, by_type if known else {}))
    return history


async def _take_pictures() -> None:
    from PIL import Image  # noqa: PLC0415 - comes with matplotlib; no test needs it

    with EmbeddedPostgres.start(durable=False) as server:
        await make_template(server)
        async with database_of(server) as urls, Database(urls.owner_url) as owner:
            await fill(owner)
            clock = RealClock()
            async with staged(owner, history=afternoon(clock.now().timestamp())) as stage:
                await stage.look()
                async with stage.listening(), chromium() as browser:
                    for name, scheme, width in _PICTURES:
                        async with stage.open(browser, scheme=scheme, width=width) as page:
                            picture = await page.screenshot(full_page=True)
                        few_colours = Image.open(io.BytesIO(picture)).convert("RGB").quantize(128)
                        few_colours.save(DOCS / f"dashboard-{name}.png", optimize=True)
                print(*stage.problems, sep="\n")  # noqa: T201 - a script that tells what it saw


_PICTURES: tuple[tuple[str, Scheme, int], ...] = (
    ("light", "light", 1280),
    ("dark", "dark", 1280),
    ("narrow", "light", 360),
)


if __name__ == "__main__":
    asyncio.run(_take_pictures())
