"""The old system: a job for each data type asks for a run, and a function at the edge refreshes what is old."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import asyncpg

from daemon.contracts import Answer, Fetched, Fetcher, FetchError, FetchRequest
from daemon.fetchers.client import HttpUpstream
from daemon.fetchers.table import build_fetchers

INTERFACE = Path(__file__).with_name("old_system.sql")
AGENT = "old-system"
"""What its calls are known by at the upstream."""

_TYPES = """
select data_type, edge_function_name as fetcher, table_name, timestamp_column, symbol_column, key_columns,
       default_ttl_minutes
from data_type_registry_v2
"""


class _Calls:
    """The upstream as a fetcher knows it, with nothing of a budget before it."""

    def __init__(self, client: HttpUpstream, counts: Counter[str], data_type: str) -> None:
        self._client = client
        self._counts = counts
        self._data_type = data_type
        self.calls = 0

    async def get(
        self, endpoint: str, params: Mapping[str, str], *, etag: str | None = None, max_bytes: int | None = None
    ) -> Answer:
        """Ask, and count."""
        self.calls += 1
        self._counts[self._data_type] += 1
        return await self._client.attempt(endpoint, params, etag=etag, max_bytes=max_bytes, meter=self._meter)

    def _meter(self, count: int) -> None:
        self._counts["bytes"] += count


class OldSystem:
    """Refreshes every symbol whose row is older than its TTL, whether anybody looks or not.

    Args:
        url: The database, as its owner.
        upstream_url: The upstream.
        api_key: Its key: the same that refreshd has, and the same budget.
        symbols_per_run: How many symbols a run refreshes at most, for every type or by type.
        run_seconds: How long a run dawdles before it begins: one that was asked for goes on when its job is paused.
    """

    def __init__(
        self,
        url: str,
        upstream_url: str,
        api_key: str,
        *,
        symbols_per_run: int | Mapping[str, int] = 10,
        run_seconds: float = 0.0,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Calls by data type, and ``bytes``."""
        self._url = url
        self._client = HttpUpstream(upstream_url, api_key, version=AGENT, allow_loopback=True)
        self._most = symbols_per_run
        self._run_seconds = run_seconds
        self._fetchers = build_fetchers()
        self._types: dict[str, asyncpg.Record] = {}
        self._ready = asyncio.Event()

    async def install(self, schedules: Mapping[str, str]) -> None:
        """Create its part of the database, and a job ``refresh-TYPE`` for each type; needs pg_cron or its stand-in."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(INTERFACE.read_text())
            for data_type, schedule in schedules.items():
                command = f"select old_system.refresh('{data_type}')"
                await connection.execute("select cron.schedule($1, $2, $3)", f"refresh-{data_type}", schedule, command)
        finally:
            await connection.close()

    async def run(self, stop: asyncio.Event) -> None:
        """Do what the jobs ask for, until ``stop``."""
        asked: asyncio.Queue[str] = asyncio.Queue()
        connection = await asyncpg.connect(self._url)
        try:
            self._types = {row["data_type"]: row for row in await connection.fetch(_TYPES)}
            await connection.add_listener("old_system", lambda *said: asked.put_nowait(str(said[-1])))
            self._ready.set()
            async with self._client, asyncio.TaskGroup() as runs:
                while not stop.is_set():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.1):
                            runs.create_task(self._refresh(await asked.get()))
        finally:
            await connection.close()

    async def until_ready(self) -> None:
        """Wait until it listens."""
        await self._ready.wait()

    async def _refresh(self, data_type: str) -> None:
        await asyncio.sleep(self._run_seconds)
        row, calls = self._types[data_type], _Calls(self._client, self.counts, data_type)
        connection = await asyncpg.connect(self._url)
        try:
            stale = await connection.fetch(
                "select old_system.stale($1, $2, $3, $4, $5) as symbol",
                row["table_name"],
                row["timestamp_column"],
                row["symbol_column"],
                row["default_ttl_minutes"],
                self._most if isinstance(self._most, int) else self._most[data_type],
            )
            symbols = [each["symbol"] for each in stale]
            fetcher = self._fetchers[row["fetcher"]]
            for start in range(0, len(symbols), fetcher.batch_size):
                await self._fetch(connection, fetcher, row, symbols[start : start + fetcher.batch_size], calls)
            await connection.execute(
                "update old_system.runs set ended_at = clock_timestamp(), calls = $2"
                " where id = (select max(id) from old_system.runs where data_type = $1 and ended_at is null)",
                data_type,
                calls.calls,
            )
        finally:
            await connection.close()

    @staticmethod
    async def _fetch(
        connection: asyncpg.Connection[asyncpg.Record],
        fetcher: Fetcher,
        row: asyncpg.Record,
        symbols: list[str],
        calls: _Calls,
    ) -> None:
        try:
            found = await fetcher.fetch([FetchRequest(symbol) for symbol in symbols], calls)
        except FetchError:
            return  # it never told anybody either
        rows = [each for fetched in found.values() if isinstance(fetched, Fetched) for each in fetched.rows or ()]
        if rows:
            await connection.execute(
                "select old_system.store($1, $2, $3, $4)",
                row["table_name"],
                row["key_columns"],
                row["timestamp_column"],
                json.dumps([dict(each) for each in rows]),
            )
