"""Fixtures of the presence room."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import structlog

from devstack.realtime.server import RealtimeServer
from tests.presence.stage import LogRecorder, new_server


@pytest.fixture
async def server() -> AsyncIterator[RealtimeServer]:
    """Return a development server that runs."""
    async with new_server() as server:
        yield server


@pytest.fixture
async def log() -> AsyncIterator[LogRecorder]:
    """Record what is logged."""
    recorder = LogRecorder()
    before = structlog.get_config()
    structlog.configure(processors=[recorder])
    yield recorder
    structlog.configure(**before)
