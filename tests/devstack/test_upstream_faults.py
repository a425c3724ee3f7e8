"""The simulated upstream commits the faults it is told to, and no others."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Callable

import msgspec
import pytest
from aiohttp import (
    ClientConnectionError,
    ClientOSError,
    ClientPayloadError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
)

from devstack.upstream.faults import Fault, FaultKind
from devstack.upstream.server import UpstreamServer
from tests.devstack.upstream_client import KEY, Dial, rows_of


def says(status: int, body: str) -> Callable[[ClientResponse, bytes], bool]:
    return lambda response, received: response.status == status and re.search(body.encode(), received) is not None


SPOILT: dict[FaultKind, tuple[Fault, Callable[[ClientResponse, bytes], bool]]] = {
    fault.kind: (fault, check)
    for fault, check in (
        (Fault(FaultKind.STATUS, status=503), says(503, "503 Service Unavailable")),
        (Fault(FaultKind.RATE_LIMIT, retry_after="Wed, 21"), lambda r, _: r.headers["Retry-After"] == "Wed, 21"),
        (Fault(FaultKind.BANDWIDTH), says(429, '"Error Message": "Bandwidth Limit Reach')),
        (Fault(FaultKind.LIMIT_IN_BODY), says(200, '"Error Message": "Limit Reach')),
        (Fault(FaultKind.UNAUTHORISED), says(401, '"Error Message": "Invalid API KEY')),
        (Fault(FaultKind.SUSPENDED), says(403, '"Error Message": "Account suspended')),
        (Fault(FaultKind.PLAN), says(402, "^Restricted Endpoint")),
        (Fault(FaultKind.HTML), says(200, "^<!DOCTYPE html>")),
        (Fault(FaultKind.TRUNCATED_JSON), lambda r, body: f'W/"{len(body):x}-' != r.headers["ETag"].split("-")[0]),
        (Fault(FaultKind.WRONG_SYMBOL, wrong_symbol="MSFT"), says(200, '"symbol": "MSFT"')),
        (Fault(FaultKind.EMPTY), says(200, r"^\[\]$")),
        (Fault(FaultKind.NAN), says(200, '"price": NaN,')),
        (Fault(FaultKind.HUGE_INTEGER), says(200, '"price": 9{5000},')),
        (Fault(FaultKind.FIELDS, fields={"price": -1}, without=("name",)), says(200, 'AAPL",\n    "price": -1,')),
        (Fault(FaultKind.DEEP_NESTING), says(200, r"^\[{200000}\]{200000}$")),
        (Fault(FaultKind.HUGE_BODY, size=300_000), lambda _, body: len(body) == 300_000),
        (Fault(FaultKind.REDIRECT), lambda r, _: r.headers["Location"] == "/stable/redirected"),
    )
}


@pytest.mark.parametrize("kind", SPOILT)
async def test_a_fault_of_the_content_comes_as_often_as_it_was_asked_for(
    kind: FaultKind, upstream: UpstreamServer, client: ClientSession
) -> None:
    fault, is_spoilt = SPOILT[kind]
    url = f"{upstream.url}/quote?symbol=AAPL"
    async with client.get(url) as response:
        good = await response.read()

    upstream.faults.add(msgspec.structs.replace(fault, times=1))
    async with client.get(url, allow_redirects=False) as response:
        spoilt = await response.read()
    async with client.get(url) as next_response:
        after = await next_response.read()

    assert is_spoilt(response, spoilt)
    assert after == good != spoilt
    assert upstream.faults.committed == {kind: 1}


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.RESET, ClientOSError),
        (FaultKind.SHORT_BODY, ClientPayloadError),
        (FaultKind.HUGE_HEADERS, ClientResponseError),
    ],
)
async def test_a_fault_of_the_connection_fails_one_call(
    kind: FaultKind, error: type[Exception], upstream: UpstreamServer, client: ClientSession
) -> None:
    upstream.faults.add(Fault(kind, times=1))

    with pytest.raises(error):
        await rows_of(client, upstream, "quote?symbol=AAPL")

    assert len(await rows_of(client, upstream, "quote?symbol=AAPL")) == 1


async def test_a_gzip_bomb_is_small_until_it_is_unpacked(upstream: UpstreamServer) -> None:
    upstream.faults.add(Fault(FaultKind.GZIP_BOMB, size=4 * 2**20))

    async with (
        ClientSession(headers={"apikey": KEY}, auto_decompress=False) as client,
        client.get(f"{upstream.url}/quote?symbol=AAPL") as response,
    ):
        packed = await response.read()

    assert len(packed) < 10_000
    assert len(zlib.decompress(packed, wbits=zlib.MAX_WBITS | 16)) == 4 * 2**20


async def test_a_drip_gives_one_byte_and_lets_the_next_one_wait(
    upstream: UpstreamServer, client: ClientSession
) -> None:
    upstream.faults.add(Fault(FaultKind.DRIP, interval_seconds=600))

    async with client.get(f"{upstream.url}/quote?symbol=AAPL") as response:
        piece = await response.content.readany()

    assert piece == b"["
    assert upstream.seen[-1].status == 0


async def test_a_fault_can_be_limited_to_an_endpoint_or_a_symbol(
    upstream: UpstreamServer, client: ClientSession
) -> None:
    upstream.faults.add(
        Fault(FaultKind.PLAN, endpoint="batch-quote", symbol="TSLA"),
        Fault(FaultKind.EMPTY, symbol="MSFT", times=1),
    )
    statuses = []

    for symbols in ("AAPL,TSLA", "AAPL"):
        async with client.get(f"{upstream.url}/batch-quote?symbols={symbols}") as response:
            statuses.append(response.status)
    rows = await rows_of(client, upstream, "batch-quote?symbols=AAPL,MSFT")
    single = await rows_of(client, upstream, "quote?symbol=TSLA")

    assert statuses == [402, 200]
    assert [row["symbol"] for row in rows + single] == ["AAPL", "TSLA"]


@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.DRIP])
async def test_stopping_is_quick_while_a_request_hangs_and_leaves_no_task(clock: Dial, kind: FaultKind) -> None:
    tasks = asyncio.all_tasks()
    loop = asyncio.get_running_loop()
    upstream = UpstreamServer(KEY, latency_seconds=0, clock=clock)
    upstream.faults.add(Fault(kind, interval_seconds=600))
    await upstream.start()
    async with ClientSession(headers={"apikey": KEY}) as client:
        client._retry_connection = False
        hanging = asyncio.ensure_future(rows_of(client, upstream, "quote?symbol=AAPL"))
        await upstream.wait_for_calls(1)
        started = loop.time()

        await upstream.stop()

        assert loop.time() - started < 0.4
        await asyncio.wait([hanging])
        assert isinstance(hanging.exception(), ClientConnectionError | ClientPayloadError)
    left = asyncio.all_tasks() - tasks
    assert not left or not (await asyncio.wait(left, timeout=1))[1]
