"""The client against servers and networks that misbehave: bounded time and memory, a named error, no key in it."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import traceback
import tracemalloc
import zlib

import aiohttp
import pytest

from daemon.contracts import FetchError, FetchErrorKind, FetchRequest
from daemon.fetchers.client import HttpUpstream
from daemon.fetchers.quote import QuoteFetcher
from tests.fetchers.scripted_server import (
    Script,
    dripping,
    reply,
    saying,
    saying_and_closing,
    saying_and_resetting,
    saying_and_stalling,
    serving,
)
from tests.fetchers.wire_rows import quotes

KEY = "c4n4ry-Secret-0123456789"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


def client(base_url: str, *, timeout_seconds: float = 30.0) -> HttpUpstream:
    return HttpUpstream(
        base_url, KEY, version="1", allow_loopback=True, timeout_seconds=timeout_seconds, max_bytes=1 << 20
    )


async def failure_of(script: Script, *, timeout_seconds: float = 30.0) -> tuple[FetchError, int]:
    """Return the error of one call, and the bytes counted."""
    counted: list[int] = []
    async with serving(script) as server, client(server.base_url, timeout_seconds=timeout_seconds) as upstream:
        with pytest.raises(FetchError) as caught:
            await upstream.attempt("quote", {"symbol": "ACME"}, meter=counted.append)
    assert len(server.requests) <= 1
    return caught.value, sum(counted)


async def quote_failure_of(script: Script) -> FetchError:
    """Return the error of one quote, fetched and parsed."""
    async with serving(script) as server, client(server.base_url, timeout_seconds=0.3) as upstream:
        try:
            found = (await QuoteFetcher().fetch([FetchRequest("ACME")], upstream))["ACME"]
        except FetchError as error:
            return error
    assert isinstance(found, FetchError)
    return found


@pytest.mark.parametrize(
    ("script", "least_counted"),
    [
        (saying_and_stalling(b""), 0),
        (saying_and_stalling(b"HTTP/1.1 200"), 0),
        (saying_and_stalling(HEAD), len(HEAD)),
        (saying_and_stalling(HEAD + b"[" * 500), len(HEAD) + 500),
        (dripping(HEAD), len(HEAD) + 1),
        (saying_and_stalling(b"HTTP/1.1 500 Oops\r\nContent-Length: 1000\r\n\r\n"), 20),
    ],
    ids=["at once", "in the status", "after the head", "in the body", "drip", "in an error"],
)
async def test_the_whole_call_has_one_timeout(script: Script, least_counted: int) -> None:
    started = asyncio.get_running_loop().time()

    error, counted = await failure_of(script, timeout_seconds=0.3)

    assert error.kind is FetchErrorKind.TIMEOUT
    assert str(error) == "quote symbol=ACME: not answered within 0.3 s"
    assert asyncio.get_running_loop().time() - started < 3
    assert counted >= least_counted


@pytest.mark.parametrize(
    ("script", "counted_exactly"),
    [
        (saying_and_closing(b""), 0),
        (saying_and_resetting(b""), 0),
        (saying_and_closing(HEAD + b"[]"), len(HEAD) + 2),
        (saying_and_closing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n"), None),
        (saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), None),
        (saying(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), None),
        (saying(b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n"), None),
        (saying(reply(b"x", "Content-Encoding: br")), None),
        (saying(reply(b"x", "Content-Encoding: gzip")), None),
        (saying(reply(gzip.compress(b"[]", mtime=0)[:-1], "Content-Encoding: gzip")), None),
        (saying(reply(b"[]", 'ETag: W/"7d0-l9Fw4VUO7kr8CvBlt4zaMCqXZ0w"')), None),
    ],
    ids=[
        "closed",
        "reset",
        "short body",
        "short chunks",
        "broken chunks",
        "not HTTP",
        "bytes",
        "brotli",
        "not gzip",
        "short gzip",
        "shorter than its ETag",
    ],
)
async def test_a_broken_answer_is_a_transport_error(script: Script, counted_exactly: int | None) -> None:
    error, counted = await failure_of(script)

    assert error.kind is FetchErrorKind.TRANSPORT
    assert str(error).startswith("quote symbol=ACME: ")
    assert str(error).isprintable()
    assert counted_exactly is None or counted == counted_exactly


async def test_a_reset_in_the_body_is_a_transport_error() -> None:
    error, _ = await failure_of(saying_and_resetting(HEAD + b"[" * 10))

    assert error.kind is FetchErrorKind.TRANSPORT


async def test_a_lost_connection_is_not_asked_again_behind_the_meter() -> None:
    answered: list[bool] = []

    async def once_then_reset(writer: asyncio.StreamWriter, stopped: asyncio.Event) -> None:
        await (saying_and_resetting(b"") if answered else saying(reply()))(writer, stopped)
        answered.append(True)

    async with serving(once_then_reset) as server, client(server.base_url) as upstream:
        await upstream.get("quote", {})

        with pytest.raises(FetchError) as caught:
            await upstream.get("quote", {})

    assert caught.value.kind is FetchErrorKind.TRANSPORT
    assert len(server.requests) == 2


async def test_a_refused_connection_is_a_transport_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with client(f"http://127.0.0.1:{unused.getsockname()[1]}/stable") as upstream:
            with pytest.raises(FetchError) as caught:
                await upstream.get("quote", {"symbol": "ACME"})

    assert caught.value.kind is FetchErrorKind.TRANSPORT


async def test_a_failed_tls_handshake_is_a_transport_error() -> None:
    async with serving(saying_and_closing(b"no TLS here\r\n"), listen_first=False) as server:
        base_url = server.base_url.replace("http:", "https:")
        async with client(base_url) as upstream:
            with pytest.raises(FetchError) as caught:
                await upstream.get("quote", {"symbol": "ACME"})

    assert caught.value.kind is FetchErrorKind.TRANSPORT


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Long: " + "x" * 1_000_000],
        ["X" * 100_000 + ": 1"],
        [f"X-Many-{n}: {'x' * 1000}" for n in range(120)],
        [f"X-Many-{n}: 1" for n in range(100_000)],
    ],
    ids=["long value", "long name", "many long", "very many"],
)
async def test_huge_headers_are_refused_and_cost_something(headers: list[str]) -> None:
    error, counted = await failure_of(saying(reply(b"[]", *headers)))

    assert error.kind in {FetchErrorKind.TRANSPORT, FetchErrorKind.TOO_LARGE}
    assert len(str(error)) < 400
    assert counted >= 8190


def bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()


async def test_a_gzip_bomb_takes_little_memory() -> None:
    data = reply(bomb(), "Content-Encoding: gzip")
    tracemalloc.start()

    error, counted = await failure_of(saying(data))

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) < 400_000
    assert error.kind is FetchErrorKind.TOO_LARGE
    assert counted <= len(data)
    assert peak < 12 << 20


@pytest.mark.parametrize("sized", [True, False])
async def test_a_huge_body_is_left_at_the_cap(sized: bool) -> None:
    data = reply(b"[" + b" " * (20 << 20), sized=sized)

    error, counted = await failure_of(saying_and_closing(data))

    assert error.kind is FetchErrorKind.TOO_LARGE
    assert 1 << 20 <= counted < 2 << 20


async def test_a_cancelled_call_stays_cancelled() -> None:
    async with serving(saying_and_stalling(HEAD)) as server, client(server.base_url) as upstream:
        received = asyncio.Event()
        call = asyncio.ensure_future(upstream.attempt("quote", {}, meter=lambda _count: received.set()))
        await received.wait()
        call.cancel()

        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!DOCTYPE html><title>Sorry</title>", FetchErrorKind.MALFORMED),
        (b"Invalid name", FetchErrorKind.MALFORMED),
        (b"", FetchErrorKind.MALFORMED),
        (quotes({})[:-20], FetchErrorKind.MALFORMED),
        (quotes({"price": float("nan")}), FetchErrorKind.MALFORMED),
        (b"[" * 200_000 + b"]" * 200_000, FetchErrorKind.MALFORMED),
        (b'[{"symbol": "ACME", "price": 1, "volume": ' + b"9" * 5000 + b"}]", FetchErrorKind.MALFORMED),
        (quotes({"symbol": "BOLT"}), FetchErrorKind.WRONG_SYMBOL),
        (quotes({"price": -1}), FetchErrorKind.INSANE_VALUE),
        (b'{"Error Message": "Limit Reach"}', FetchErrorKind.RATE_LIMITED),
        (b'{"quote": []}', FetchErrorKind.MALFORMED),
    ],
    ids=[
        "HTML",
        "text",
        "nothing",
        "truncated",
        "NaN",
        "nesting",
        "digits",
        "wrong symbol",
        "negative price",
        "error object",
        "other object",
    ],
)
async def test_a_bad_body_is_a_named_error_from_end_to_end(body: bytes, kind: FetchErrorKind) -> None:
    found = await quote_failure_of(saying(reply(body, "Content-Type: application/json")))

    assert found.kind is kind


ECHOES = [
    saying(reply(KEY.encode(), status="500 Oops")),
    saying(reply(f'{{"Error Message": "Invalid API KEY {KEY}"}}'.encode(), status="401 No")),
    saying(reply(f'{{"Error Message": "Limit Reach for {KEY}"}}'.encode())),
    saying(reply(b"", f"Location: https://{KEY}.example/?apikey={KEY}", status="302 Found")),
    saying(reply(b"", f"X-Echo: {KEY}\x00", status=f"200 {KEY}")),
    saying(f"HTTP/1.1 2x0 {KEY}\r\n{KEY}\r\n\r\n".encode()),
    saying(reply(b"[]", f"X: {KEY * 1000}")),
    saying(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY * 10}\r\n".encode()),
    saying(reply(b"[]", f"Content-Encoding: {KEY}")),
    saying(reply(f'[{{"symbol": "{KEY}", "price": 1}}]'.encode())),
    saying(reply(KEY.encode())),
    saying_and_closing(f"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-Echo: {KEY}\r\n\r\n".encode()),
    saying_and_resetting(KEY.encode()),
    saying_and_stalling(KEY.encode()),
]


@pytest.mark.parametrize("script", ECHOES)
async def test_the_key_reaches_neither_messages_nor_tracebacks_nor_logs(
    script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    found = await quote_failure_of(script)

    assert not isinstance(found.__context__ or found.__cause__, aiohttp.ClientError)
    written = "".join((str(found), repr(found), *traceback.format_exception(found), caplog.text)).lower()
    assert KEY[:4].lower() not in written
    assert "apikey" not in written
