"""The client against a real server that behaves: what is sent, what comes back, what is counted."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from aiohttp import test_utils, web

from daemon.contracts import ConfigurationError, FetchError, FetchErrorKind, Upstream
from daemon.fetchers.client import HttpUpstream
from tests.fetchers.scripted_server import ScriptedServer, reply, saying, saying_and_closing, serving

KEY = "c4n4ry-Secret-0123456789"
ETAG = 'W/"2-l9Fw4VUO7kr8CvBlt4zaMCqXZ0w"'


def client(server: ScriptedServer, *, max_bytes: int = 100_000) -> HttpUpstream:
    return HttpUpstream(server.base_url, KEY, version="1.2.3", allow_loopback=True, max_bytes=max_bytes)


async def failure_of(data: bytes) -> FetchError:
    async with serving(saying(data)) as server, client(server) as upstream:
        with pytest.raises(FetchError) as caught:
            await upstream.get("quote", {"symbol": "ACME"})
    return caught.value


async def test_a_good_answer_is_returned() -> None:
    async with serving(saying(reply(b"[]", f"ETag: {ETAG}"))) as server, client(server) as http:
        upstream: Upstream = http

        answer = await upstream.get("quote", {"symbol": "ACME"})

    assert (answer.status, answer.body, answer.etag) == (200, b"[]", ETAG)


async def test_the_key_is_in_a_header_and_not_in_the_url() -> None:
    async with serving(saying(reply())) as server, client(server) as upstream:
        await upstream.get("batch-quote", {"symbols": "^GSPC,EURUSD=X"})

    request_line, *headers = server.requests[0].decode().split("\r\n")
    assert request_line == "GET /stable/batch-quote?symbols=%5EGSPC,EURUSD%3DX HTTP/1.1"
    assert f"apikey: {KEY}" in headers
    assert "User-Agent: refreshd/1.2.3" in headers
    assert "Accept-Encoding: gzip, deflate" in headers
    assert server.requests[0].decode().count(KEY) == 1


async def test_cookies_are_not_kept() -> None:
    async with serving(saying(reply(b"[]", "Set-Cookie: id=1"))) as server:
        server.base_url = server.base_url.replace("127.0.0.1", "localhost")
        async with client(server) as upstream:
            await upstream.get("quote", {})
            await upstream.get("quote", {})

    assert b"cookie" not in server.requests[1].lower()


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async with serving(saying(reply())) as server, client(server) as upstream:
        answer = await upstream.get("quote", {})

    assert answer.body == b"[]"


async def test_a_connection_is_used_again() -> None:
    data = reply()
    async with serving(saying(data)) as server, client(server) as upstream:
        answers = [await upstream.get("quote", {}) for _ in range(3)]

    assert [answer.received_bytes for answer in answers] == [len(data)] * 3


@pytest.mark.parametrize(
    ("encoding", "wire"), [("gzip", gzip.compress(b"[1]" * 99, mtime=0)), ("deflate", zlib.compress(b"[1]" * 99))]
)
async def test_a_compressed_answer_is_unfolded_and_counted_as_it_came(encoding: str, wire: bytes) -> None:
    data = reply(wire, f"Content-Encoding: {encoding}")
    counted: list[int] = []
    async with serving(saying(data)) as server, client(server) as upstream:
        answer = await upstream.attempt("quote", {}, meter=counted.append)

    assert answer.body == b"[1]" * 99
    assert answer.received_bytes == sum(counted) == len(data)


async def test_a_chunked_answer_is_counted_without_its_framing() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(saying(head + b"1\r\n[\r\n1\r\n]\r\n0\r\n\r\n")) as server, client(server) as upstream:
        answer = await upstream.get("quote", {})

    assert answer.body == b"[]"
    assert answer.received_bytes == len(head) + 2


async def test_an_answer_that_ends_with_its_connection_is_whole() -> None:
    async with serving(saying_and_closing(reply(b"[]", sized=False))) as server, client(server) as upstream:
        answer = await upstream.get("quote", {})

    assert answer.body == b"[]"


async def test_a_server_made_with_aiohttp_is_understood() -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == '"one"':
            return web.Response(status=304, headers={"ETag": '"one"'})
        response = web.json_response([request.query["symbol"]] * 500, headers={"ETag": '"one"'})
        response.enable_compression()
        return response

    app = web.Application()
    app.router.add_get("/stable/quote", handle)
    async with test_utils.TestServer(app) as server:
        base_url = str(server.make_url("/stable"))
        async with HttpUpstream(base_url, KEY, version="1.2.3", allow_loopback=True) as upstream:
            first = await upstream.get("quote", {"symbol": "A&B=C,^D"})
            second = await upstream.get("quote", {"symbol": "A&B=C,^D"}, etag=first.etag)

    assert json.loads(first.body) == ["A&B=C,^D"] * 500
    assert first.received_bytes < len(first.body)
    assert (second.status, second.body) == (304, b"")


async def test_an_etag_is_sent_and_304_is_an_answer() -> None:
    data = b'HTTP/1.1 304 Not Modified\r\nETag: "new"\r\n\r\n'
    async with serving(saying(data)) as server, client(server) as upstream:
        answer = await upstream.get("profile", {"symbol": "ACME"}, etag=ETAG)

    assert f"If-None-Match: {ETAG}\r\n".encode() in server.requests[0]
    assert (answer.status, answer.body, answer.etag, answer.received_bytes) == (304, b"", '"new"', len(data))


async def test_a_304_without_an_etag_keeps_the_one_sent() -> None:
    async with serving(saying(b"HTTP/1.1 304 Not Modified\r\n\r\n")) as server, client(server) as upstream:
        answer = await upstream.get("profile", {}, etag=ETAG)

    assert answer.etag == ETAG


async def test_a_304_that_nobody_asked_for_is_an_error() -> None:
    assert (await failure_of(b"HTTP/1.1 304 Not Modified\r\n\r\n")).kind is FetchErrorKind.UPSTREAM_ERROR


async def test_an_etag_that_no_header_can_carry_is_not_sent() -> None:
    async with serving(saying(reply())) as server, client(server) as upstream:
        await upstream.get("profile", {}, etag='"a\r\nX-Evil: 1"')

    assert b"If-None-Match" not in server.requests[0]
    assert b"Evil" not in server.requests[0]


async def test_a_404_with_an_empty_array_is_an_empty_answer() -> None:
    async with serving(saying(reply(b" []\n", status="404 Not Found"))) as server, client(server) as upstream:
        answer = await upstream.get("quote", {})

    assert (answer.status, answer.body) == (200, b"[]")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (reply(b"Query Error", status="400 Bad Request"), FetchErrorKind.BAD_REQUEST),
        (reply(b"", status="401 Unauthorized"), FetchErrorKind.UNAUTHORISED),
        (reply(b"Restricted Endpoint", status="402 Payment Required"), FetchErrorKind.PLAN),
        (reply(b"", status="403 Forbidden"), FetchErrorKind.UNAUTHORISED),
        (reply(b"Cannot GET", status="404 Not Found"), FetchErrorKind.BAD_REQUEST),
        (reply(b"<html>", status="500 Oops"), FetchErrorKind.UPSTREAM_ERROR),
        (reply(b"", status="503 Busy"), FetchErrorKind.UPSTREAM_ERROR),
        (reply(b'{"Error Message": "Limit Reach"}'), FetchErrorKind.RATE_LIMITED),
        (reply(b'{"Error Message": "Bandwidth Limit Reach"}'), FetchErrorKind.BANDWIDTH_EXHAUSTED),
        (reply(b'{"Error Message": "Invalid API KEY"}'), FetchErrorKind.UNAUTHORISED),
        (
            reply(gzip.compress(b'{"Error Message": "?"}', mtime=0), "Content-Encoding: gzip"),
            FetchErrorKind.UPSTREAM_ERROR,
        ),
        (reply(b"Bandwidth Limit", status="429 Too Many Requests"), FetchErrorKind.BANDWIDTH_EXHAUSTED),
        (reply(b"x", "Content-Encoding: br", status="429 Too Many Requests"), FetchErrorKind.RATE_LIMITED),
        (reply(b"x" * 300_000, status="429 Too Many Requests"), FetchErrorKind.RATE_LIMITED),
        (reply(b"", "Location: https://evil.example/", status="301 Moved"), FetchErrorKind.UPSTREAM_ERROR),
        (reply(b"", "Location: /loop", status="307 Temporary Redirect"), FetchErrorKind.UPSTREAM_ERROR),
    ],
)
async def test_a_status_is_an_error_that_names_what_was_asked_for(data: bytes, kind: FetchErrorKind) -> None:
    error = await failure_of(data)

    assert error.kind is kind
    assert str(error).startswith("quote symbol=ACME: ")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 7", 7),
        ("Retry-After: 99999", 900),
        ("Retry-After: junk", 60),
        ("Date: Wed, 04 Nov 2026 12:00:00 GMT\r\nretry-after: Wed, 04 Nov 2026 12:00:30 GMT", 30),
        ("X-Other: 1", 60),
    ],
)
async def test_a_rate_limit_says_how_long_to_wait(header: str, seconds: float) -> None:
    error = await failure_of(reply(b"", header, status="429 Too Many Requests"))

    assert error.kind is FetchErrorKind.RATE_LIMITED
    assert error.retry_after_seconds == seconds


async def test_a_redirect_is_not_followed() -> None:
    data = reply(b"", "Location: /stable/other", status="302 Found")
    async with serving(saying(data)) as server, client(server) as upstream:
        with pytest.raises(FetchError, match="redirects to itself: refused"):
            await upstream.get("quote", {})

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "data",
    [
        reply(b"sorry", status="500 Oops"),
        reply(b"", "Location: https://evil.example/", status="302 Found"),
        reply(b'{"Error Message": "Limit Reach"}'),
        reply(b"[]", 'ETag: W/"3-l9Fw4VUO7kr8CvBlt4zaMCqXZ0w"'),
    ],
)
async def test_a_refused_answer_has_been_counted_too(data: bytes) -> None:
    counted: list[int] = []
    async with serving(saying(data)) as server, client(server) as upstream:
        with pytest.raises(FetchError):
            await upstream.attempt("quote", {}, meter=counted.append)

    assert sum(counted) == len(data)


@pytest.mark.parametrize("endpoint", ["", "/quote", "../api", "http://evil.example/", "quote?a=b", "a//b", "quote\r\n"])
async def test_an_endpoint_is_a_path_of_words(endpoint: str) -> None:
    async with serving(saying(reply())) as server, client(server) as upstream:
        with pytest.raises(FetchError) as caught:
            await upstream.get(endpoint, {})

    assert caught.value.kind is FetchErrorKind.BAD_REQUEST
    assert server.requests == []


async def test_an_endpoint_can_have_several_words() -> None:
    async with serving(saying(reply())) as server, client(server) as upstream:
        await upstream.get("news/stock-latest", {})

    assert server.requests[0].startswith(b"GET /stable/news/stock-latest HTTP/1.1")


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "naïve"])
def test_a_key_that_no_header_can_carry_is_a_configuration_error(key: str) -> None:
    with pytest.raises(ConfigurationError, match="FMP_API_KEY"):
        HttpUpstream("https://financialmodelingprep.com/stable", key, version="1")


def test_a_base_url_elsewhere_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="REFRESHD_UPSTREAM_URL"):
        HttpUpstream("https://evil.example/stable", KEY, version="1")


async def test_the_key_is_not_in_the_representation() -> None:
    upstream = HttpUpstream("https://financialmodelingprep.com/stable", KEY, version="1")

    assert repr(upstream) == "<HttpUpstream financialmodelingprep.com>"


async def test_a_call_may_have_a_cap_of_its_own() -> None:
    body = json.dumps([1] * 1000).encode()
    async with serving(saying(reply(body))) as server, client(server, max_bytes=100) as upstream:
        answer = await upstream.get("quote", {}, max_bytes=len(body))

        with pytest.raises(FetchError) as caught:
            await upstream.get("quote", {})

    assert answer.body == body
    assert caught.value.kind is FetchErrorKind.TOO_LARGE
