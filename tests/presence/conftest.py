"""Fixtures of the presence room."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from devstack.realtime.server import RealtimeServer
from tests.presence.stage import new_server


@pytest.fixture
async def server() -> AsyncIterator[RealtimeServer]:
    """Return a development server that runs."""
    async with new_server() as server:
        yield server
