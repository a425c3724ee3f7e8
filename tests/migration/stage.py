"""A database with the interface of pg_cron, a job for each data type, and some rows of the old system."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from daemon.migration import journey, old_jobs
from daemon.migration.phases import ORDER
from daemon.store.baselines import measure, read_cron, record
from daemon.store.database import Database
from daemon.store.flags import set_flags
from daemon.store.moves import Move, Steps, read_move
from daemon.store.owner import Owner, owner_connection
from devstack.old_system.cron import INTERFACE
from tests.databases import TestDatabase
from tests.rows import make_ready

SYMBOLS = ("AAPL", "MSFT", "NVDA")
GLOBAL_FLAGS = ["use_queue_system", "use_presence_tracking", "use_new_staleness_check"]


def quiet(_text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Moving:
    """What a test of the migration works with."""

    owner: Owner
    database: Database
    """As the owner, through a pool."""
    urls: TestDatabase

    def steps(self, who: str = "ada", why: str = "a test") -> Steps:
        """Return the steps, as taken by somebody."""
        return Steps(self.owner, who, why)

    async def old_jobs(self, data_type: str) -> old_jobs.OldJobs:
        """Return the old jobs of a type, as pg_cron's names tell them."""
        move = await read_move(self.owner, data_type)
        return old_jobs.find(data_type, move.table_name, await read_cron(self.owner))

    async def start(self, data_type: str = "quote", *, hold_seconds: float = 0.0, baseline: str | None = None) -> int:
        """Move a type over."""
        jobs = await self.old_jobs(data_type)
        return await journey.start(
            self.steps(), data_type, jobs, baseline=baseline, hold_seconds=hold_seconds, tell=quiet, confirm=always
        )

    async def roll_back(self, data_type: str = "quote", *, drain_seconds: float = 5.0) -> int:
        """Give a type back."""
        back = await journey.roll_back(self.steps(), data_type, tell=quiet, confirm=always, drain_seconds=drain_seconds)
        return back.stamped_rows

    async def move(self, data_type: str = "quote") -> Move:
        """Return how a type stands."""
        return await read_move(self.owner, data_type)

    async def active_jobs(self) -> set[str]:
        """Return the names of pg_cron's active jobs."""
        return {row["jobname"] for row in await self.owner.fetch("select jobname from cron.job where active")}

    async def is_claimable(self, data_type: str = "quote") -> bool:
        """Return whether the daemon may claim jobs of a type now."""
        sql = "select exists (select from enabled_data_types_v2 where data_type = $1)"
        return bool(await self.database.fetchval(sql, data_type))

    async def record(self, name: str = "before") -> None:
        """Record a baseline."""
        await record(self.owner, name, await measure(self.owner), who="ada", note=None)

    async def fill_quotes(self, ages: Sequence[str]) -> None:
        """Have the old system's rows of the first symbols, each so old."""
        for symbol, age in zip(SYMBOLS, ages, strict=False):
            await self.database.execute(
                "insert into live_quote_indicators (symbol, price, fetched_at)"
                " values ($1, 1, now() - $2::text::interval)"
                " on conflict (symbol) do update set fetched_at = excluded.fetched_at",
                symbol,
                age,
            )

    async def state(self, symbol: str = "AAPL", data_type: str = "quote") -> Any:
        """Return the state of a pair."""
        sql = "select * from refresh_state_v2 where symbol = $1 and data_type = $2"
        return await self.owner.fetchrow(sql, symbol, data_type)


def always(_question: str) -> bool:
    """Confirm."""
    return True


@asynccontextmanager
async def moving(urls: TestDatabase) -> AsyncIterator[Moving]:
    """Set the stage: everything on but the types, all jobs active."""
    connection = await asyncpg.connect(urls.owner_url)
    await connection.execute(INTERFACE.read_text())
    for data_type in ORDER:
        await connection.execute(
            "select cron.schedule($1, '* * * * *', $2)", f"refresh-{data_type}", f"select old_refresh('{data_type}')"
        )
    await connection.close()
    async with Database(urls.owner_url) as database, owner_connection(urls.owner_url) as owner:
        await make_ready(database, SYMBOLS)
        names = [row["flag_name"] for row in await database.fetch("select flag_name from feature_flags")]
        await set_flags(database, [name for name in names if name not in GLOBAL_FLAGS], enabled=False)
        yield Moving(owner, database, urls)
