"""Both budgets against a plain model, the time moved instead of waited for: random calls, settlements, limits."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from daemon.contracts import CallRefusedError
from daemon.store.budgets import Limits, Settlement, announce_limits, reserve_call, settle
from daemon.store.database import Database

WINDOW_SECONDS = 62.0
STEPS = 120
PASS_TIME = "update api_data_usage_v2 set reserved_at = reserved_at - make_interval(secs => $1)"

pytestmark = pytest.mark.direct


@dataclass
class Call:
    """A reservation as the model knows it."""

    id: int
    at: float
    calls: int
    bytes: int
    settled: bool = False


class Model:
    """What is spent: every reservation as it was made, until it is settled with what came."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.now = 0.0
        self.calls: list[Call] = []

    def in_window(self) -> int:
        return sum(call.calls for call in self.calls if call.at > self.now - WINDOW_SECONDS)

    def allows(self, size: int) -> str | None:
        """Return what refuses a call of that size."""
        if self.in_window() + 1 > self.limits.calls_per_minute:
            return "calls"
        if sum(call.bytes for call in self.calls) + size > self.limits.bytes_per_30_days * 0.95:
            return "bytes"
        return None


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_is_reserved_settled_and_changed_both_budgets_hold(
    owner: Database, database: Database, seed: int
) -> None:
    chance = random.Random(seed)
    model = Model(Limits(chance.randint(3, 12), 1_000_000))
    await announce_limits(database, "fmp", "test", model.limits)

    for _ in range(STEPS):
        match chance.choice(["call", "call", "call", "settle", "settle", "wait", "limits"]):
            case "call":
                await reserve(database, model, chance.choice([0, 100, 20_000, 90_000]))
            case "settle" if open_calls := [call for call in model.calls if not call.settled]:
                call = chance.choice(open_calls)
                call.calls, call.bytes = chance.choice([(0, 0), (1, call.bytes // 2), (1, call.bytes * 2), (1, 0)])
                call.settled = True
                await settle(database, [Settlement(call.id, call.calls, call.bytes)] * chance.randint(1, 2))
            case "wait":
                seconds = chance.choice([0.0, 5.0, 31.0, 61.0, 63.0])
                model.now += seconds
                await owner.execute(PASS_TIME, seconds)
            case "limits":
                model.limits = Limits(chance.randint(1, 12), chance.choice([500_000, 1_000_000, 2_000_000]))
                await announce_limits(database, "fmp", "test", model.limits)


async def reserve(database: Database, model: Model, size: int) -> None:
    """Ask for a call, and hold the answer to the model's."""
    refused_by = model.allows(size)
    if refused_by is not None:
        with pytest.raises(CallRefusedError) as refused:
            await reserve_call(database, "fmp", size, "test/1")
        assert refused.value.reason == refused_by
        assert refused.value.retry_after_seconds > 0
        return
    reservation = await reserve_call(database, "fmp", size, "test/1")
    model.calls.append(Call(reservation, model.now, 1, size))


async def test_a_refusal_by_calls_says_when_asking_again_succeeds(owner: Database, database: Database) -> None:
    await announce_limits(database, "fmp", "test", Limits(2, 1_000_000))
    for seconds in (20.0, 0.0):
        await reserve_call(database, "fmp", 0, "test/1")
        await owner.execute(PASS_TIME, seconds)
    with pytest.raises(CallRefusedError) as refused:
        await reserve_call(database, "fmp", 0, "test/1")

    await owner.execute(PASS_TIME, refused.value.retry_after_seconds - 1.0)
    with pytest.raises(CallRefusedError):
        await reserve_call(database, "fmp", 0, "test/1")
    await owner.execute(PASS_TIME, 1.1)

    assert await reserve_call(database, "fmp", 0, "test/1") > 0
