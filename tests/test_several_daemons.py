"""Several daemons on one database: every shard has one owner, and the rows of all of them add up to the truth."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient

from devstack.daemon_process import DaemonProcess
from devstack.stack import Stack
from tests.test_end_to_end import FAST, OPTIONS, until

SHARDS = 6
SHARED = FAST | {
    "REFRESHD_LOBBY_SHARDS": str(SHARDS),
    "REFRESHD_SYMBOL_SHARDS": "2",
    "REFRESHD_SHARD_LEASE_SECONDS": "2",
    "REFRESHD_SHARD_RENEW_SECONDS": "0.4",
    "REFRESHD_TOPIC_LOOK_SECONDS": "0.2",
}
HOLDERS = """
    select name, holder from leases_v2 where (name like 'viewers:%' or name like 'symbols:%') and expires_at > now()
"""
Rows = set[tuple[str, str, str]]

pytestmark = pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """Everything on this machine."""
    async with Stack(latency_seconds=0.02, symbols=["AAPL", "MSFT", "NVDA"]) as running:
        yield running


@asynccontextmanager
async def pages(stack: Stack) -> AsyncIterator[dict[str, AsyncRealtimeChannel]]:
    """One page in every lobby, each with a user of its own."""
    async with AsyncExitStack() as ends:
        joined = {}
        for shard in range(SHARDS):
            client = AsyncRealtimeClient(stack.realtime_url, stack.viewer_token(), auto_reconnect=False)
            await client.connect()
            ends.push_async_callback(client.close)
            topic = f"viewers:{shard}"
            joined[topic] = client.channel(topic, OPTIONS)
            await joined[topic].subscribe()
            await look(joined[topic], topic, "AAPL")
        yield joined


async def look(page: AsyncRealtimeChannel, topic: str, symbol: str) -> None:
    await page.track({"userId": f"user of {topic}", "views": {symbol: ["quote"]}})


async def start(stack: Stack, names: str) -> dict[str, DaemonProcess]:
    return {name: await stack.start_daemon(SHARED | {"REFRESHD_INSTANCE": name}) for name in names}


async def rows(stack: Stack) -> Rows:
    found = await stack.owner.fetch("select source, user_id, symbol from active_subscriptions_v2")
    return {(row["source"], row["user_id"], row["symbol"]) for row in found}


async def until_rows(stack: Stack, symbols: dict[str, str]) -> None:
    """Wait until the table says what the pages show."""
    truth = {(topic, f"user:user of {topic}", symbol) for topic, symbol in symbols.items()}

    async def equal() -> bool:
        return await rows(stack) == truth

    await until(equal, f"rows {truth}", 40)


async def until_shared(stack: Stack, names: str) -> dict[str, str]:
    """Wait until every shard is held by one of these, by all of them; return who holds what."""
    held: dict[str, str] = {}

    async def shared() -> bool:
        held.clear()
        held.update({row["name"]: row["holder"].split("/")[0] for row in await stack.owner.fetch(HOLDERS)})
        return len(held) == SHARDS + 2 and {held[f"viewers:{n}"] for n in range(SHARDS)} == set(names)

    await until(shared, f"shards of {names}", 40)
    return held


def everywhere(symbol: str) -> dict[str, str]:
    return {f"viewers:{shard}": symbol for shard in range(SHARDS)}


async def test_the_shards_of_a_killed_daemon_are_taken_and_nobody_is_forgotten(stack: Stack) -> None:
    async with pages(stack) as joined:
        daemons = await start(stack, "ab")
        held = await until_shared(stack, "ab")
        await until_rows(stack, everywhere("AAPL"))

        daemons["a"].send(signal.SIGKILL)
        await daemons["a"].wait()
        during_the_gap = await rows(stack)
        await until_shared(stack, "b")
        orphan = next(topic for topic, name in held.items() if name == "a" and topic in joined)
        await look(joined[orphan], orphan, "MSFT")
        await until_rows(stack, everywhere("AAPL") | {orphan: "MSFT"})

        assert len(during_the_gap) == SHARDS


async def test_a_daemon_that_was_frozen_finds_its_shards_taken_and_writes_nothing(stack: Stack) -> None:
    async with pages(stack) as joined:
        daemons = await start(stack, "ab")
        held = await until_shared(stack, "ab")
        await until_rows(stack, everywhere("AAPL"))

        daemons["a"].send(signal.SIGSTOP)
        await until_shared(stack, "b")
        for topic in [topic for topic, name in held.items() if name == "a" and topic in joined]:
            await look(joined[topic], topic, "NVDA")
        shown = {topic: "NVDA" if held[topic] == "a" else "AAPL" for topic in joined}
        await until_rows(stack, shown)
        daemons["a"].send(signal.SIGCONT)
        await daemons["a"].until_event("shards_handed_over")
        await until_shared(stack, "ab")
        await until_rows(stack, shown)

        assert daemons["a"].exit_code is None


async def test_five_daemons_lose_one_by_a_kill_and_one_by_a_stop_and_symbol_topics_stay_heard(stack: Stack) -> None:
    async with pages(stack) as joined:
        daemons = await start(stack, "abcde")
        await until_shared(stack, "abcde")
        await until_rows(stack, everywhere("AAPL"))

        daemons["a"].send(signal.SIGKILL)
        assert await daemons["b"].stop() == 0
        for topic, page in joined.items():
            await look(page, topic, "MSFT")
        await until_shared(stack, "cde")
        await until_rows(stack, everywhere("MSFT"))

        client = AsyncRealtimeClient(stack.realtime_url, stack.viewer_token(), auto_reconnect=False)
        await client.connect()
        page = client.channel("symbol:NVDA", OPTIONS)
        await page.subscribe()
        await page.track({"symbol": "NVDA", "dataTypes": ["quote"], "userId": "user of symbol:NVDA"})
        await stack.owner.fetch("select name_symbol_topics_v2('{NVDA}')")
        await until_rows(stack, everywhere("MSFT") | {"symbol:NVDA": "NVDA"})
        await client.close()

    async with asyncio.timeout(20):
        assert [await daemons[name].stop() for name in "cde"] == [0, 0, 0]
    assert await stack.owner.fetch(HOLDERS) == []
