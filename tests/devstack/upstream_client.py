"""How the tests ask the simulated upstream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientSession

from devstack.upstream.server import UpstreamServer

KEY = "a-development-key"
WEDNESDAY = datetime(2026, 6, 10, 15, 30, 20, tzinfo=UTC).timestamp()


@dataclass
class Dial:
    """A clock that stands where it is set."""

    seconds: float

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


async def rows_of(client: ClientSession, upstream: UpstreamServer, question: str) -> list[dict[str, Any]]:
    """Ask a question that has an answer and return its rows."""
    async with client.get(f"{upstream.url}/{question}") as response:
        assert response.status == 200
        rows: list[dict[str, Any]] = await response.json()
        return rows
