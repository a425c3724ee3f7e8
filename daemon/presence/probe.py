"""Can Realtime be joined? Asked once, by ``refreshd check``."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

from daemon.contracts import Clock
from daemon.presence.channel import Patience
from daemon.presence.pacing import Pacer
from daemon.presence.session import Session

PROBE_SECONDS = 10.0
JOINS_PER_SECOND = 10.0


class _Answer:
    """Takes the first thing that a session learns."""

    def __init__(self) -> None:
        self.problem: str | None = "no answer"
        self.given = asyncio.Event()

    async def take_state(self, _topic: str, _payload: dict[str, Any]) -> None:
        """The topic is joined."""
        self.problem = None
        self.given.set()

    async def take_diff(self, _topic: str, _payload: Any) -> None:
        """Nothing to learn from a change."""

    def channel_lost(self, topic: str, cause: str, detail: str) -> None:
        """The topic was refused."""
        self.problem = f"joining {topic} failed: {cause} {detail}".rstrip()
        self.given.set()


async def probe_realtime(url: str, key: str, *, topic: str, clock: Clock) -> str | None:
    """Join ``topic`` as the daemon would and leave again; return what went wrong, None where nothing did."""
    answer = _Answer()
    session = Session(
        url=url,
        key=key,
        topics=[topic],
        presence_key="refreshd-check",
        watcher=answer,
        clock=clock,
        rng=random.Random(),  # noqa: S311 - jitter is no secret
        drops=Counter(),
        patience=Patience(canary_seconds=0),
        pacer=Pacer(clock, JOINS_PER_SECOND),
    )
    async with asyncio.TaskGroup() as group:
        life = group.create_task(session.run(answer.given))
        await asyncio.wait({life}, timeout=PROBE_SECONDS)
        answer.given.set()
    cause = life.result()
    return answer.problem if cause == "stopped" else f"the connection failed: {cause}"
