"""The breaker of several processes against what must hold: random calls, ends and steps of time on one row."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import pytest

from daemon.contracts import CallRefusedError
from daemon.processor.breaker import CACHE_SECONDS, Breaker, BreakerLimits
from daemon.store.database import Database
from tests.clocks import StandingClock

STEPS = 250
LIMITS = BreakerLimits(failures_in_a_row=3, open_seconds=30, longest_open_seconds=100, probe_seconds=15)
PASS_TIME = """
update upstreams_v2 set breaker_open_until = breaker_open_until - make_interval(secs => $1),
    probe_expires_at = probe_expires_at - make_interval(secs => $1)
"""
ROW = """
select breaker_state as state, probe_id as probe,
       coalesce(extract(epoch from breaker_open_until - clock_timestamp()), 0)::float8 as open_for,
       coalesce(extract(epoch from probe_expires_at - clock_timestamp()), 0)::float8 as probe_for
from upstreams_v2 where upstream = 'fmp'
"""

pytestmark = pytest.mark.direct


class Processes:
    """Three processes, the calls that they have under way, and one clock for all."""

    def __init__(self, owner: Database, database: Database, seed: int) -> None:
        self.chance = random.Random(seed)
        self._owner = owner
        self._clock = StandingClock()
        self._breakers = [Breaker(database, "fmp", LIMITS, self._clock) for _ in range(3)]
        self._calls: list[tuple[Breaker, UUID | None]] = []
        self.probes = self.openings = self.closings = 0

    async def row(self) -> Any:
        return await self._owner.fetchrow(ROW)

    async def wait(self) -> None:
        await self._pass(self.chance.choice([CACHE_SECONDS + 0.1, 16.0, 31.0, 101.0]))

    async def call(self) -> None:
        """Nobody passes while it is open; who passes then carries the only probe there is."""
        self._clock.move(CACHE_SECONDS + 0.001)  # every process looks at the row again
        breaker, before = self.chance.choice(self._breakers), await self.row()
        try:
            probe = await breaker.admit()
        except CallRefusedError:
            assert before["state"] != "closed"
            return
        if before["state"] == "closed":
            assert probe is None
        else:
            self.probes += 1
            after = await self.row()
            assert max(before["open_for"], before["probe_for"]) <= 0
            assert (after["state"], after["probe"]) == ("half_open", probe)
        self._calls.append((breaker, probe))

    async def end(self) -> None:
        """A call that carries the probe decides; one that carried an older probe, or none, closes nothing."""
        if not self._calls:
            return
        at = self.chance.choice([-1, self.chance.randrange(len(self._calls))])
        breaker, probe = self._calls.pop(at)
        before, how = (
            await self.row(),
            self.chance.choice(["succeeded", "succeeded", "failed", "failed", "failed", "undecided"]),
        )
        decides = probe is not None and before["probe"] == probe
        match how:
            case "succeeded":
                await breaker.succeeded(probe)
            case "failed":
                await breaker.failed(probe, "it did not answer")
            case _:
                await breaker.undecided(probe)
        self._judge(how, before, await self.row(), decides=decides)

    def _judge(self, how: str, before: Any, after: Any, *, decides: bool) -> None:
        if decides:
            assert after["probe"] is None
            assert (after["state"] == "closed") == (how == "succeeded")
            self.closings += how == "succeeded"
        elif before["state"] != "closed":
            assert (after["state"], after["probe"]) == (before["state"], before["probe"])
        if after["state"] == "open" and (before["state"] == "closed" or (decides and how == "failed")):
            self.openings += 1
            assert LIMITS.open_seconds - 1 <= after["open_for"] <= LIMITS.longest_open_seconds

    async def _pass(self, seconds: float) -> None:
        self._clock.move(seconds)
        await self._owner.execute(PASS_TIME, seconds)


@pytest.mark.parametrize("seed", range(1, 9))
async def test_nobody_passes_an_open_breaker_and_one_probe_decides(
    owner: Database, database: Database, seed: int
) -> None:
    processes = Processes(owner, database, seed)

    for _ in range(STEPS):
        await getattr(processes, processes.chance.choice(["call", "call", "call", "end", "end", "end", "wait"]))()

    assert processes.probes > 0
    assert processes.openings > 0
    assert processes.closings > 0
