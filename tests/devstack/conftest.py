"""What the tests of the simulated upstream start with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from devstack.upstream.server import UpstreamServer
from tests.devstack.upstream_client import KEY, WEDNESDAY, Dial


@pytest.fixture
def clock() -> Dial:
    """A Wednesday afternoon."""
    return Dial(WEDNESDAY)


@pytest.fixture
async def upstream(clock: Dial) -> AsyncIterator[UpstreamServer]:
    """A simulated upstream without latency."""
    async with UpstreamServer(KEY, latency_seconds=0, calls_per_minute=10_000, clock=clock) as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    """A client with the right key."""
    async with ClientSession(headers={"apikey": KEY}) as session:
        session._retry_connection = False  # aiohttp would ask again, unasked, after a reset
        yield session
