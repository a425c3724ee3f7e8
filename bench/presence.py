"""Presence in bulk: how long a full state takes, how long it stalls the event loop, what a diff costs, how much memory.

Both sides get the same frames as bytes. Ours goes the daemon's own way, from the frame to what the sink is told; the
other is the stock client's: its validation, its channel, its presence callbacks, which count viewers per pair as simply
as can be. Nothing goes over a socket. A stall is the longest time between two turns of the event loop, as a task sees
it that does nothing but take turns. Memory is what a fresh process has allocated for it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import random
import time
import tracemalloc
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import click
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient
from realtime.message import ServerMessageAdapter

from bench.results import Goal, Result
from daemon.contracts import DemandChange, Pair
from daemon.presence.client import MAX_FRAME_BYTES
from daemon.presence.feed import DemandFeed
from daemon.presence.frames import decode_frame
from daemon.presence.metadata import DEFAULT_RULES
from daemon.presence.roster import Roster
from daemon.store.clock import DatabaseClock

SYMBOLS = 500
DIFFS = 5_000
SMALL = ((1_000, 1), (10_000, 2))
FULL = ((1_000, 1), (10_000, 1), (10_000, 4), (50_000, 5), (50_000, 16), (100_000, 16))
GOAL_LAYOUT = (50_000, 16)
OURS, STOCK = "refreshd", "stock client"


@dataclass(frozen=True, slots=True)
class Crowd:
    """The frames of one layout: a state for each shard, and diffs in which somebody looks at something else."""

    states: Sequence[bytes]
    diffs: Sequence[bytes]


class Side(Protocol):
    """One of the two that are compared."""

    async def begin(self, shards: int) -> None:
        """Be ready for the states of so many shards."""

    async def take(self, raw: bytes) -> None:
        """Take in one frame."""

    async def settle(self) -> None:
        """Tell whatever waits to be told."""

    async def end(self) -> None:
        """Have everybody leave."""


class Catalogue:
    """Knows everything."""

    def __init__(self) -> None:
        self._pairs: dict[Pair, Pair] = {}

    def resolve(self, symbol: str, data_type: str) -> Pair | str:
        """Return the pair, the same object every time."""
        pair = Pair(symbol, data_type)
        return self._pairs.setdefault(pair, pair)


class Ours:
    """The daemon's way."""

    def __init__(self) -> None:
        self.told = 0
        self._feed = DemandFeed(
            catalogue=Catalogue(),
            sink=self._sink,
            clock=DatabaseClock(),
            roster=Roster(),
            coalesce_seconds=1.0,
            rules=DEFAULT_RULES,
        )
        self._shards = 0

    def _sink(self, change: DemandChange) -> None:
        self.told += len(change.viewers)

    async def begin(self, shards: int) -> None:
        """Open the topics."""
        self._shards = shards
        for shard in range(shards):
            await self._feed.open(f"viewers:{shard}", f"viewers:{shard}")

    async def take(self, raw: bytes) -> None:
        """Decode and apply, as a session does."""
        frame = decode_frame(raw)
        assert frame is not None
        if frame.event == "presence_state":
            await self._feed.take_state(frame.topic, frame.payload)
        else:
            await self._feed.take_diff(frame.topic, frame.payload)
        self._feed.tick()
        await asyncio.sleep(0)

    async def settle(self) -> None:
        """Tell the sink without waiting for more."""
        self._feed.flush()

    async def end(self) -> None:
        """Close every topic, as for a flag that is turned off."""
        for shard in range(self._shards):
            await self._feed.close(f"viewers:{shard}")


class Stock:
    """The stock client's way."""

    def __init__(self) -> None:
        self.viewers: Counter[Pair] = Counter()
        self._client = AsyncRealtimeClient("http://127.0.0.1:1", "sb_secret_benchmark", auto_reconnect=False)
        self._channels: dict[str, AsyncRealtimeChannel] = {}

    async def begin(self, shards: int) -> None:
        """Make channels with presence callbacks."""
        for shard in range(shards):
            channel = self._client.channel(f"viewers:{shard}")
            channel.on_presence_join(lambda _key, _current, new: self._count(new, 1))
            channel.on_presence_leave(lambda _key, _current, left: self._count(left, -1))
            self._channels[channel.topic] = channel

    async def take(self, raw: bytes) -> None:
        """Validate and handle, as the client's listener does."""
        message = ServerMessageAdapter.validate_json(raw)
        self._channels[message.topic]._handle_message(message)  # noqa: SLF001 - what its listener calls
        await asyncio.sleep(0)

    async def settle(self) -> None:
        """Nothing waits: the callbacks have counted."""

    async def end(self) -> None:
        """Forget everything: the stock client has no word for it."""
        self._channels.clear()

    def _count(self, presences: Sequence[Any], step: int) -> None:
        for presence in presences:
            for symbol, data_types in presence.get("views", {}).items():
                for data_type in data_types:
                    self.viewers[Pair(symbol, data_type)] += step


SIDES: dict[str, Callable[[], Side]] = {OURS: Ours, STOCK: Stock}


@click.command()
@click.option("--quick", is_flag=True, help="Small crowds, one round, nothing written.")
@click.option("--rounds", default=3, show_default=True)
def main(*, quick: bool, rounds: int) -> None:
    """Measure presence in bulk beside the stock client."""
    layouts, rounds = (SMALL, 1) if quick else (FULL, rounds)
    figures: dict[str, float | None] = {}
    ratios: dict[str, float] = {}
    for presences, shards in layouts:
        crowd = make_crowd(presences, shards)
        name = f"{presences:,} in {shards}"
        largest = max(map(len, crowd.states))
        figures[f"{name}: largest frame MiB"] = largest / 2**20
        if largest > MAX_FRAME_BYTES:
            continue
        samples = _rounds(crowd, rounds)
        for what in samples[OURS][0]:
            values = {who: [sample[what] for sample in taken] for who, taken in samples.items()}
            for who in SIDES:
                figures[f"{name}: {what}, {who}"] = median(values[who])
            if what != "leave stall ms":
                pairs = zip(values[OURS], values[STOCK], strict=True)
                ratios[f"{name}: {what}, {OURS} / {STOCK}"] = median(own / other for own, other in pairs)
    presences, shards = layouts[-1] if quick else GOAL_LAYOUT
    for who in SIDES:
        figures[f"memory per viewer bytes, {who}"] = _memory_per_viewer(who, presences, shards)
    _result(figures, ratios, f"{presences:,} in {shards}").publish(write=not quick)


def make_crowd(presences: int, shards: int, *, seed: int = 1) -> Crowd:
    """Return the frames of a crowd whose interest is Zipf-distributed: three symbols each, two data types."""
    rng = random.Random(seed)
    weights = [1 / rank for rank in range(1, SYMBOLS + 1)]
    metas: list[dict[str, dict[str, Any]]] = [{} for _ in range(shards)]

    def meta(user: str) -> dict[str, Any]:
        symbols = rng.choices(range(SYMBOLS), weights, k=3)
        views = {f"S{symbol}": ["quote", "profile"] for symbol in symbols}
        return {"phx_ref": f"{rng.getrandbits(72):018x}", "userId": user, "views": views}

    for number in range(presences):
        user = str(uuid.UUID(int=rng.getrandbits(128)))
        metas[number % shards][user] = meta(user)
    states = [
        _frame(shard, "presence_state", {key: {"metas": [each]} for key, each in members.items()})
        for shard, members in enumerate(metas)
    ]
    diffs = []
    for _ in range(min(DIFFS, presences)):
        shard = rng.randrange(shards)
        key = rng.choice(list(metas[shard])) if presences <= SYMBOLS else next(iter(metas[shard]))
        old, new = metas[shard].pop(key), meta(key)
        metas[shard][key] = new
        joins = {key: {"metas": [{**new, "phx_ref_prev": old["phx_ref"]}]}}
        diffs.append(_frame(shard, "presence_diff", {"joins": joins, "leaves": {key: {"metas": [old]}}}))
    return Crowd(states, diffs)


def _frame(shard: int, event: str, payload: dict[str, Any]) -> bytes:
    return json.dumps({"topic": f"realtime:viewers:{shard}", "event": event, "payload": payload, "ref": None}).encode()


def _rounds(crowd: Crowd, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Measure both sides in turn."""
    samples: dict[str, list[dict[str, float]]] = {who: [] for who in SIDES}
    for _ in range(rounds):
        for who, side in SIDES.items():
            gc.collect()
            samples[who].append(asyncio.run(_measure(side(), crowd)))
    return samples


async def _measure(side: Side, crowd: Crowd) -> dict[str, float]:
    await side.begin(len(crowd.states))
    ready, ready_stall = await _timed(lambda: _take_all(side, crowd.states))
    changed, change_stall = await _timed(lambda: _take_all(side, crowd.diffs))
    _, leave_stall = await _timed(side.end)
    return {
        "state to ready ms": 1000 * ready,
        "state stall ms": 1000 * ready_stall,
        "diff us": 1e6 * changed / len(crowd.diffs),
        "diffs a second": len(crowd.diffs) / changed,
        "diff stall ms": 1000 * change_stall,
        "leave stall ms": 1000 * leave_stall,
    }


async def _take_all(side: Side, frames: Sequence[bytes]) -> None:
    for raw in frames:
        await side.take(raw)
    await side.settle()


async def _timed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Return how long ``work`` takes and the longest stall meanwhile, in seconds."""
    async with _stalls() as gaps:
        began_at = time.perf_counter()
        await work()
        seconds = time.perf_counter() - began_at
        await asyncio.sleep(0)
    return seconds, max(gaps)


@asynccontextmanager
async def _stalls() -> AsyncIterator[list[float]]:
    gaps = [0.0]

    async def watch() -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            gaps[0] = max(gaps[0], now - before)
            before = now

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    try:
        yield gaps
    finally:
        watcher.cancel()


def _memory_per_viewer(who: str, presences: int, shards: int) -> float:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_grow, (who, presences, shards))


def _grow(who: str, presences: int, shards: int) -> float:
    """Return how many bytes are allocated for each viewer when all states have been taken in."""
    states = list(make_crowd(presences, shards).states)
    side = SIDES[who]()

    async def take() -> None:
        await side.begin(shards)
        while states:
            await side.take(states.pop())
        await side.settle()

    asyncio.run(_warm_up(who))
    tracemalloc.start()
    asyncio.run(take())
    gc.collect()
    allocated, _ = tracemalloc.get_traced_memory()
    return allocated / presences


async def _warm_up(who: str) -> None:
    side = SIDES[who]()
    await side.begin(1)
    await _take_all(side, make_crowd(200, 1).states)


def _result(figures: dict[str, float | None], ratios: dict[str, float], layout: str) -> Result:
    def goal(name: str, limit: float, figure: str) -> Goal:
        measured = figures[figure]
        return Goal(name, f"below {limit:g}", measured, measured is not None and measured < limit)

    goals = (
        goal(f"longest stall of a state, {layout}, ms", 100, f"{layout}: state stall ms, {OURS}"),
        goal(f"longest stall while diffs flow, {layout}, ms", 50, f"{layout}: diff stall ms, {OURS}"),
        goal(f"longest stall when all leave, {layout}, ms", 250, f"{layout}: leave stall ms, {OURS}"),
        goal("memory per viewer, bytes", 1_500, f"memory per viewer bytes, {OURS}"),
    )
    return Result("presence", figures, ratios, goals)


if __name__ == "__main__":
    main()
