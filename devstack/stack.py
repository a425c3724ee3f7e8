"""Everything the daemon needs, on this machine: PostgreSQL with the schema, a Realtime server, an upstream."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, Self

import asyncpg

from daemon.contracts import Flags, type_flag
from daemon.fetchers.plug_ins import load_fetchers
from daemon.store.catalogue import seed_symbols
from daemon.store.database import Database
from daemon.store.flags import list_flags, set_flags
from daemon.store.migrate import migrate
from daemon.store.registry import list_types
from daemon.store.schema import load_schema
from devstack.daemon_process import DaemonProcess
from devstack.pooler import Pooler
from devstack.postgres import EmbeddedPostgres
from devstack.realtime.server import RealtimeServer
from devstack.realtime.tokens import mint_token
from devstack.upstream.server import UpstreamServer

LOBBY = "viewers:0"
LOGIN = "refreshd"


class Stack:
    """The embedded stack. Use as an async context manager; everything is gone afterwards.

    Args:
        calls_per_minute: The limit that the upstream enforces and the daemon is configured with.
        latency_seconds: How long the upstream thinks about each answer.
        durable: Whether PostgreSQL waits for the disk; tests need not.
        symbols: The allow-list; all that the upstream lists where None.
        pooled: Whether the daemon reaches PostgreSQL through a pgbouncer in transaction mode.
        changes: Whether Realtime clients can subscribe to changes of the published tables.
        scheduled: Whether types that are refreshed by the clock are on: a test seldom wants calls that nobody caused.
        settings: Lines of postgresql.conf.
        binaries: The folder of PostgreSQL's programs; the usual one where None.
        moved: Whether the flags of all types are on; False for a system that has yet to move over.
    """

    def __init__(
        self,
        *,
        calls_per_minute: int = 300,
        latency_seconds: float = 0.1,
        durable: bool = True,
        symbols: Sequence[str] | None = None,
        pooled: bool = False,
        changes: bool = False,
        scheduled: bool = False,
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
        moved: bool = True,
    ) -> None:
        self.upstream_key = secrets.token_hex(16)
        self.jwt_secret = secrets.token_hex(32)
        self.service_key = f"sb_secret_{secrets.token_hex(16)}"
        self.realtime = RealtimeServer(self.jwt_secret, [self.service_key])
        self.upstream = UpstreamServer(
            self.upstream_key, calls_per_minute=calls_per_minute, latency_seconds=latency_seconds
        )
        self._calls_per_minute = calls_per_minute
        self._durable = durable
        self._symbols = symbols
        self._pooled = pooled
        self._changes = changes
        self._scheduled = scheduled
        self._settings = settings or {}
        self._binaries = binaries
        self._moved = moved
        self._pooler: Pooler | None = None
        self._login_password = secrets.token_hex(16)
        self._stack = AsyncExitStack()
        self.postgres: EmbeddedPostgres
        self.owner: Database
        """The owner's connections, for setting things up and for looking."""

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def owner_url(self) -> str:
        """PostgreSQL as the owner of the schema."""
        return self.postgres.url()

    @property
    def daemon_url(self) -> str:
        """PostgreSQL as the least-privileged role of the daemon."""
        url = self.postgres.url(user=LOGIN, password=self._login_password)
        return url if self._pooler is None else self._pooler.through(url)

    @property
    def realtime_url(self) -> str:
        """What a Realtime client connects to."""
        return f"{self.realtime.url}/realtime/v1"

    def viewer_token(self, *, expires_in_seconds: int = 3600) -> str:
        """Return what a browser that is not logged in would carry."""
        return mint_token(self.jwt_secret, "anon", expires_in_seconds=expires_in_seconds)

    def environment(self, **overrides: str) -> dict[str, str]:
        """Return the daemon's settings for this stack."""
        return {
            "DATABASE_URL": self.daemon_url,
            "REFRESHD_OWNER_DATABASE_URL": self.owner_url,
            "SUPABASE_URL": self.realtime.url,
            "SUPABASE_SERVICE_ROLE_KEY": self.service_key,
            "FMP_API_KEY": self.upstream_key,
            "REFRESHD_CALLS_PER_MINUTE": str(self._calls_per_minute),
            "REFRESHD_BYTES_PER_30_DAYS": "20GB",
            "REFRESHD_UPSTREAM_URL": self.upstream.url,
            "REFRESHD_ALLOW_LOOPBACK_UPSTREAM": "true",
            "REFRESHD_INSTANCE": "demo",
            "REFRESHD_HTTP_LISTEN": "127.0.0.1:0",
            **overrides,
        }

    async def start_daemon(
        self, overrides: Mapping[str, str] | None = None, *, log: IO[bytes] | None = None
    ) -> DaemonProcess:
        """Start the daemon as its own process; it is stopped with the stack at the latest."""
        daemon = await DaemonProcess.start(self.environment(**(overrides or {})), log, self.secrets)
        self._stack.push_async_callback(self._end, daemon)
        return daemon

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no log line, no answer and no table may ever hold."""
        return (self.upstream_key, self.service_key, self._login_password, self.postgres.password)

    async def _end(self, daemon: DaemonProcess) -> None:
        await daemon.stop()
        if daemon.leaks:
            raise AssertionError(f"{daemon.leaks} lines of the daemon's log hold a secret")

    async def add_type(self, sql: str, flag: str) -> None:
        """Add the table and the registry row of a plug-in, as its owner does, and turn it on."""
        await self.owner.execute(sql)
        await migrate(self.owner_url, load_schema(), daemon_url=self.daemon_url)
        await set_flags(self.owner, [flag], enabled=True)

    async def turn_on_all_flags(self) -> None:
        """Turn on everything that the daemon can do, scheduled types where they are wanted."""
        known = load_fetchers().fetchers
        idle = {
            type_flag(row["data_type"])
            for row in await list_types(self.owner)
            if row["fetcher"] not in known or (row["refresh_strategy"] == "scheduled" and not self._scheduled)
        }
        flags = [flag.name for flag in await list_flags(self.owner) if flag.name not in idle]
        await set_flags(self.owner, flags, enabled=True)

    async def _start(self) -> None:
        self.postgres = await asyncio.to_thread(
            EmbeddedPostgres.start,
            durable=self._durable,
            settings={"track_commit_timestamp": "on", "max_connections": "60", **self._settings},
            binaries=self._binaries,
        )
        self._stack.callback(self.postgres.stop)
        await self._create_login()
        await migrate(self.owner_url, load_schema(), daemon_url=self.daemon_url, create_roles=True)
        if self._pooled:
            self._pooler = self._stack.enter_context(Pooler(self.postgres, {LOGIN: self._login_password}))
        await self._stack.enter_async_context(self.realtime)
        if self._changes:
            await self._stack.enter_async_context(self.realtime.following(self.owner_url))
        await self._stack.enter_async_context(self.upstream)
        self.upstream.warm_up()
        self.owner = await self._stack.enter_async_context(Database(self.owner_url, application_name="devstack"))
        symbols = self._symbols if self._symbols is not None else self.upstream.symbols()
        await seed_symbols(self.owner, [(symbol, self.upstream.exchange_of(symbol)) for symbol in symbols])
        if self._moved:
            await self.turn_on_all_flags()
        else:
            await set_flags(self.owner, list(Flags().global_by_name()), enabled=True)

    async def _create_login(self) -> None:
        connection = await asyncpg.connect(self.owner_url)
        try:
            await connection.execute(f"create role {LOGIN} login password '{self._login_password}'")
        finally:
            await connection.close()
