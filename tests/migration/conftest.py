"""The stage of the migration."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.databases import TestDatabase
from tests.migration.stage import Moving, moving


@pytest.fixture
async def stage(urls: TestDatabase) -> AsyncIterator[Moving]:
    async with moving(urls) as running:
        yield running
