"""``refreshd presence`` as an operator types it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from devstack.daemon_process import DaemonProcess
from devstack.stack import Stack
from tests.cli.test_commands import refreshd
from tests.test_end_to_end import FAST, looks_at, until, viewer

OFTEN = FAST | {"REFRESHD_SHARD_RENEW_SECONDS": "0.2", "REFRESHD_SYMBOL_SHARDS": "2"}
REPORTED = "select coalesce((status #>> '{shards,viewers:0,viewers}')::int, 0) from listeners_v2"

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.0, durable=False, symbols=["AAPL"]) as running:
        yield running


async def seen_by(stack: Stack, daemon: DaemonProcess, *arguments: str, columns: int = 80) -> str:
    """Return what the command prints while somebody looks at something, part of which does not exist."""
    await daemon.until_event("realtime_connected")
    async with viewer(stack) as page:
        await looks_at(page, "ann", AAPL=["quote", "horoscope"], NOBODY=["quote"])

        async def reported() -> bool:
            return bool(await stack.owner.fetchval(REPORTED) == 1)

        await until(reported, "the daemon's report of a viewer")
        code, text = await refreshd(stack, "presence", *arguments, COLUMNS=str(columns))
    assert code == 0
    return text


async def test_before_any_daemon_it_says_what_to_look_at(stack: Stack) -> None:
    code, text = await refreshd(stack, "presence")

    assert code == 0
    assert "systemctl status refreshd" in text
    assert "use_presence_tracking" in text


@pytest.mark.parametrize("columns", [80, 130])
async def test_connections_shards_viewers_and_drops_are_shown(stack: Stack, columns: int) -> None:
    daemon = await stack.start_daemon(OFTEN)

    text = await seen_by(stack, daemon, columns=columns)
    await daemon.stop()

    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert max(map(len, text.splitlines())) <= columns
    assert any(line.startswith("demo/") and "reported 0 s ago" in line for line in lines)
    assert any(line.startswith("viewers:0 demo/") and line.endswith(" 1 1 1") for line in lines)
    assert any(line.startswith("symbols:1 demo/") and line.endswith(" 0 0 0") for line in lines)
    assert "dropped unknown_data_type 1, unknown_symbol 1" in lines


async def test_it_is_one_json_document_for_scripts(stack: Stack) -> None:
    daemon = await stack.start_daemon(OFTEN)

    told = orjson.loads(await seen_by(stack, daemon, "--json"))
    await daemon.stop()

    [listener] = told["listeners"]
    assert listener["alive"]
    assert listener["status"]["shards"]["viewers:0"] == {"topics": 1, "confirmed": 1, "viewers": 1}
    assert listener["status"]["connections"][0]["age_seconds"] > 0
    assert [shard["held"] for shard in told["shards"]] == [True] * 3


async def test_after_an_orderly_stop_nobody_holds_anything(stack: Stack) -> None:
    daemon = await stack.start_daemon(OFTEN)
    await daemon.until_event("realtime_connected")
    await daemon.stop()

    told = orjson.loads((await refreshd(stack, "presence", "--json"))[1])

    assert told["listeners"] == []
    assert [shard["held"] for shard in told["shards"]] == [False] * 3
