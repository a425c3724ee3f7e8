"""The simulated upstream speaks HTTP as the real one does, limits calls, and counts."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib

import pytest
from aiohttp import ClientConnectionError, ClientSession

from devstack.upstream.server import UpstreamServer
from tests.devstack.upstream_client import KEY, Dial, rows_of


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("quote", "Query Error: Invalid or missing query parameter - symbol"),
        ("quote?symbol=", "Query Error: Invalid or missing query parameter - symbol"),
        ("batch-quote?symbol=AAPL", "Query Error: Invalid or missing query parameter - symbols"),
        ("holidays-by-exchange", "Query Error: Invalid or missing query parameter - exchange"),
        ("exchange-market-hours?exchange=MARS", "Invalid Exchange Provided."),
    ],
)
async def test_a_bad_question_is_answered_in_plain_text_under_a_json_content_type(
    question: str, text: str, upstream: UpstreamServer, client: ClientSession
) -> None:
    async with client.get(f"{upstream.url}/{question}") as response:
        body = await response.text()

    assert (response.status, response.content_type, body) == (400, "application/json", text)


async def test_an_unknown_endpoint_is_404_with_an_empty_array(upstream: UpstreamServer, client: ClientSession) -> None:
    async with client.get(f"{upstream.url}/no-such-endpoint") as response:
        body = await response.read()

    assert (response.status, body) == (404, b"[]")


async def test_the_key_is_taken_from_header_or_query_and_never_kept(upstream: UpstreamServer) -> None:
    statuses = []
    async with ClientSession() as stranger:
        for query, headers in (
            ("", {"apikey": KEY}),
            (f"&apikey={KEY}", {}),
            ("", {}),
            ("&apikey=wrong", {}),
        ):
            async with stranger.get(f"{upstream.url}/quote?symbol=AAPL{query}", headers=headers) as response:
                answer = await response.json()
            statuses.append(response.status)

    assert statuses == [200, 200, 401, 401]
    assert list(answer) == ["Error Message"]
    assert answer["Error Message"].startswith("Invalid API KEY.")
    assert {name for call in upstream.seen for name in call.params} == {"symbol"}


async def test_the_etag_tells_length_and_hash_of_the_body_and_a_matching_one_saves_the_body(
    upstream: UpstreamServer, client: ClientSession
) -> None:
    url = f"{upstream.url}/profile?symbol=AAPL"
    async with client.get(url) as first:
        body = await first.read()
    sent = upstream.bytes_sent

    async with client.get(url, headers={"If-None-Match": first.headers["ETag"]}) as second:
        nothing = await second.read()

    digest = base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest())[:27].decode()
    assert first.headers["ETag"] == f'W/"{len(body):x}-{digest}"'
    assert (second.status, nothing, second.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert "Content-Type" not in second.headers
    assert upstream.bytes_sent == sent


async def test_an_etag_is_ignored_when_switched_off_or_when_the_price_has_moved(
    upstream: UpstreamServer, client: ClientSession, clock: Dial
) -> None:
    url, statuses = f"{upstream.url}/quote?symbol=AAPL", []
    async with client.get(url) as first:
        headers = {"If-None-Match": first.headers["ETag"]}

    upstream.honour_etags = False
    async with client.get(url, headers=headers) as response:
        statuses.append(response.status)
    upstream.honour_etags = True
    clock.seconds += 60
    async with client.get(url, headers=headers) as response:
        statuses.append(response.status)

    assert statuses == [200, 200]


async def test_bodies_are_compressed_and_chunked_for_those_who_accept_it(upstream: UpstreamServer) -> None:
    url = f"{upstream.url}/profile?symbol=AAPL"
    async with ClientSession(headers={"apikey": KEY}, auto_decompress=False) as client:
        async with client.get(url) as packed:
            body = await packed.read()
        async with client.get(url, headers={"Accept-Encoding": "identity"}) as plain:
            whole = await plain.read()

    assert gzip.decompress(body) == whole
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Length" not in packed.headers
    assert plain.headers["Content-Length"] == str(len(whole))
    assert plain.headers["Content-Type"] == "application/json; charset=utf-8"
    assert upstream.bytes_sent == len(body) + len(whole)


async def test_an_answer_takes_as_long_as_it_is_told_to(upstream: UpstreamServer, client: ClientSession) -> None:
    upstream.latency_seconds = 0.05
    loop = asyncio.get_running_loop()
    started = loop.time()

    await rows_of(client, upstream, "quote?symbol=AAPL")

    assert loop.time() - started >= 0.05


async def test_calls_above_the_limit_of_a_sliding_minute_are_refused(client: ClientSession) -> None:
    now, statuses = Dial(1_000.0), []
    async with UpstreamServer(KEY, calls_per_minute=3, latency_seconds=0, monotonic=now) as upstream:
        for seconds in (1_000, 1_020, 1_050, 1_055, 1_059.5, 1_060, 1_061, 1_080):
            now.seconds = seconds
            async with client.get(f"{upstream.url}/quote?symbol=AAPL") as response:
                answer = await response.json()
            statuses.append((response.status, response.headers.get("Retry-After")))
            assert response.status == 200 or answer["Error Message"].startswith("Limit Reach")

        assert [status for status, _ in statuses] == [200, 200, 200, 429, 429, 200, 429, 200]
        assert [wait for status, wait in statuses if status == 429] == ["5", "1", "19"]
        assert upstream.max_calls_per_60s() == 6


async def test_calls_are_counted_by_endpoint_and_remembered(upstream: UpstreamServer, client: ClientSession) -> None:
    await rows_of(client, upstream, "quote?symbol=AAPL")
    await rows_of(client, upstream, "quote?symbol=MSFT")
    async with client.get(f"{upstream.url}/profile"):
        pass

    assert upstream.calls == 3
    assert upstream.calls_by_endpoint == {"quote": 2, "profile": 1}
    assert [(call.endpoint, call.params, call.status) for call in upstream.seen] == [
        ("quote", {"symbol": "AAPL"}, 200),
        ("quote", {"symbol": "MSFT"}, 200),
        ("profile", {}, 400),
    ]


async def test_it_starts_again_on_the_same_port(upstream: UpstreamServer, client: ClientSession) -> None:
    await rows_of(client, upstream, "quote?symbol=AAPL")
    url = upstream.url

    await upstream.stop()
    with pytest.raises(ClientConnectionError):
        await rows_of(client, upstream, "quote?symbol=AAPL")
    await upstream.start()

    assert upstream.url == url
    assert len(await rows_of(client, upstream, "quote?symbol=AAPL")) == 1
    assert upstream.calls == 2


async def test_faults_switches_and_statistics_are_within_reach_over_http(
    upstream: UpstreamServer, client: ClientSession
) -> None:
    root = upstream.url.removesuffix("/stable")

    async with client.post(f"{root}/_faults", json=[{"kind": "plan", "endpoint": "batch-quote", "times": 2}]) as added:
        stats = await added.json()
    async with client.get(f"{upstream.url}/batch-quote?symbols=AAPL") as refused:
        pass
    async with client.delete(f"{root}/_faults"), client.post(f"{root}/_switches", json={"market_open": False}):
        pass
    async with client.post(f"{root}/_faults", json={"kind": "no such fault"}) as rejected:
        pass
    async with client.get(f"{root}/_stats") as response:
        after = await response.json()

    assert [fault["times"] for fault in stats["faults"]] == [2]
    assert (refused.status, rejected.status) == (402, 400)
    assert (after["calls"], after["faults"], after["market_open"]) == (1, [], False)
