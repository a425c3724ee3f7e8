"""How a command that makes calls keeps the budgets when no daemon is there to announce them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from daemon.assembly import UPSTREAM
from daemon.processor.tuning import upstream_limits
from daemon.settings import Settings
from daemon.store.budgets import announce_limits, read_limits, retire_instance
from daemon.store.database import Database


@asynccontextmanager
async def limits_in_force(database: Database, settings: Settings, instance: str) -> AsyncIterator[None]:
    """Have limits in force: those of the running daemons, or, where none runs, the configured ones for as long."""
    if await read_limits(database, UPSTREAM) is not None:
        yield
        return
    await announce_limits(database, UPSTREAM, instance, upstream_limits(settings))
    try:
        yield
    finally:
        await retire_instance(database, instance)
