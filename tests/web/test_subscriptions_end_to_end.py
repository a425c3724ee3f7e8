"""A page's request all the way: a real daemon, its settings, a token of the project, a row in the table."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest_asyncio
from aiohttp import ClientSession

from devstack.daemon_process import DaemonProcess
from devstack.stack import Stack
from tests.operations.stage import url_of
from tests.test_end_to_end import FAST, until_value

PATH = "/functions/v1/track-subscription-v2"
ORIGIN = "https://app.example.com"


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.02, durable=False, symbols=["AAPL"]) as running:
        yield running


async def start(stack: Stack, **settings: str) -> tuple[DaemonProcess, str]:
    issuer = f"{stack.realtime.url}/auth/v1"
    daemon = await stack.start_daemon(
        {
            **FAST,
            "REFRESHD_JWT_SECRET": stack.jwt_secret,
            "REFRESHD_JWT_ISSUER": issuer,
            "REFRESHD_CORS_ORIGINS": ORIGIN,
            "REFRESHD_TICKET_KEY": "t" * 32,
            **settings,
        }
    )
    await daemon.until_event("realtime_connected")
    return daemon, await url_of(daemon)


def token(stack: Stack) -> str:
    claims = {
        "iss": f"{stack.realtime.url}/auth/v1",
        "aud": "authenticated",
        "role": "authenticated",
        "sub": "7b6a1f6e-user",
        "exp": int(time.time()) + 60,
    }
    return jwt.encode(claims, stack.jwt_secret, algorithm="HS256")


async def track(stack: Stack, url: str, symbol: str, *types: str) -> tuple[int, dict[str, Any], str | None]:
    headers = {"Authorization": f"Bearer {token(stack)}", "Origin": ORIGIN}
    body = {"symbol": symbol, "dataTypes": list(types)}
    async with ClientSession() as client, client.post(f"{url}{PATH}", json=body, headers=headers) as answer:
        return answer.status, await answer.json(), answer.headers.get("Access-Control-Allow-Origin")


async def test_a_page_that_asks_gets_what_is_stale_queued_and_a_ticket(stack: Stack) -> None:
    daemon, url = await start(stack)

    status, answer, origin = await track(stack, url, "AAPL", "quote", "profile", "nonsense")
    await until_value(stack, "select count(*) from live_quote_indicators where symbol = 'AAPL'", 1)
    await until_value(stack, "select count(*) from profiles where symbol = 'AAPL'", 1)
    again = (await track(stack, url, "AAPL", "quote"))[1]
    await daemon.stop()

    assert (status, origin) == (200, ORIGIN)
    assert {entry["data_type"] for entry in answer["queued"]} == {"quote", "profile"}
    assert answer["unknown"][0]["data_type"] == "nonsense"
    assert answer["ticket"]
    assert [entry["data_type"] for entry in again["fresh"]] == ["quote"]


async def test_a_new_symbol_is_taken_in_once_the_upstream_knows_it_and_one_it_does_not_know_is_not(
    stack: Stack,
) -> None:
    daemon, url = await start(stack, REFRESHD_SYMBOL_ADMISSION="verify")

    known = (await track(stack, url, "MSFT", "quote"))[1]
    unknown = (await track(stack, url, "NOSUCH", "quote"))[1]
    await until_value(stack, "select count(*) from live_quote_indicators where symbol = 'MSFT'", 1)
    row = await stack.owner.fetchrow("select exchange, is_active from supported_symbols where symbol = 'MSFT'")
    spent = await stack.owner.fetchval("select count(*) from api_data_usage_v2 where settled_at is null")
    await daemon.stop()

    assert [entry["symbol"] for entry in known["queued"]] == ["MSFT"]
    assert unknown["unknown"][0]["reason"] == "unknown_symbol"
    assert row is not None
    assert tuple(row) == ("NASDAQ", True)
    assert spent == 0
    assert await stack.owner.fetchval("select count(*) from supported_symbols") == 2


async def test_without_admission_a_new_symbol_costs_nothing(stack: Stack) -> None:
    daemon, url = await start(stack)

    answer = (await track(stack, url, "MSFT", "quote"))[1]
    await daemon.stop()

    assert answer["unknown"][0]["reason"] == "unknown_symbol"
    assert stack.upstream.calls == 0
