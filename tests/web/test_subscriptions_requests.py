"""What a request must look like, how many are answered, and who may read the answers: through real sockets."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.web.client_address import client_address
from daemon.web.request_limits import WindowStorage
from daemon.web.subscriptions_openapi import OPENAPI_PATH, TRACK_PATH, UNTRACK_PATH
from tests.clocks import StandingClock
from tests.presence.stage import LogRecorder
from tests.web.subscription_stage import AAPL_QUOTE, Answer, MemoryStore, Stage, anonymous_key, hs256, staged

ORIGIN = "https://app.example"


@pytest.fixture(autouse=True)
def recorded(log: LogRecorder) -> LogRecorder:
    """Keep what is logged off the screen."""
    return log


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged(origins=[ORIGIN]) as running:
        yield running


async def raw(stage: Stage, sent: bytes, end: bytes = b"}}") -> bytes:
    """Send bytes and return what comes, up to ``end``: that of an error."""
    host, port = stage.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            return await reader.readuntil(end)
    finally:
        writer.close()


def head(length: int | None, **headers: str) -> bytes:
    lines = [f"POST {TRACK_PATH} HTTP/1.1", "Host: x", f"Authorization: Bearer {hs256()}"]
    lines += ["Content-Type: application/json"]
    lines += ["Transfer-Encoding: chunked"] if length is None else [f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def code_of(received: bytes) -> tuple[int, str]:
    top, _, body = received.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(body)["error"]["code"]


# --- bodies ----------------------------------------------------------------------------------------------------------


async def test_a_slow_body_is_given_up() -> None:
    async with staged(body_seconds=0.1) as stage:
        received = await raw(stage, head(100) + b'{"symbol":')

    assert code_of(received) == (408, "body_too_slow")
    assert b"Connection: close" in received


async def test_a_body_that_drips_for_ever_is_given_up_too() -> None:
    async with staged(body_seconds=0.2) as stage:
        host, port = stage.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head(4_000))

        async def drip() -> None:
            while True:
                writer.write(b" ")
                await asyncio.sleep(0.01)

        dripping = asyncio.ensure_future(drip())
        async with asyncio.timeout(10):
            received = await reader.readuntil(b"}}")
        dripping.cancel()
        writer.close()

    assert code_of(received) == (408, "body_too_slow")


@pytest.mark.parametrize("length", [5_000, None], ids=["declared", "chunked"])
async def test_a_body_beyond_the_bound_is_refused(stage: Stage, length: int | None) -> None:
    body = b"x" * 5_000
    sent = body if length else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    received = await raw(stage, head(length) + sent)

    assert code_of(received) == (413, "body_too_large")


async def test_a_body_of_the_largest_size_is_read(stage: Stage) -> None:
    body = json.dumps({**AAPL_QUOTE, "more": ""})
    body = body[:-2] + "x" * (4_096 - len(body)) + '"}'

    async with stage.client.post(
        TRACK_PATH,
        data=body,
        headers={"Authorization": f"Bearer {hs256()}", "Content-Type": "application/json"},
    ) as response:
        assert (len(body), response.status) == (4_096, 200)


async def test_a_broken_chunk_is_a_bad_request(stage: Stage) -> None:
    received = await raw(stage, head(None) + b"zz\r\n", b"\r\n")

    assert b" 400 " in received


async def test_a_compressed_body_is_refused(stage: Stage) -> None:
    bomb = gzip.compress(b" " * 10_000_000)

    received = await raw(stage, head(len(bomb), **{"Content-Encoding": "gzip"}) + bomb)

    assert code_of(received) == (415, "unsupported_encoding")


async def test_a_client_that_expects_to_be_told_to_continue_gets_its_answer(stage: Stage) -> None:
    body = json.dumps(AAPL_QUOTE).encode()

    received = await raw(stage, head(len(body), Expect="100-continue") + body, b"\r\n")

    assert received.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
async def test_only_json_is_read(stage: Stage, content_type: str) -> None:
    answer = await stage.post(Content_Type=content_type)

    assert (answer.status, answer.code) == (415, "unsupported_media_type")


BAD_BODIES = [
    {},
    [],
    7,
    {"symbol": "AAPL"},
    {"dataTypes": ["quote"]},
    {"symbol": "AAPL", "dataTypes": []},
    {"symbol": "AAPL", "dataTypes": ["quote"] * 21},
    {"symbol": "AAPL", "dataTypes": "quote"},
    {"symbol": "AAPL", "dataTypes": [7]},
    {"symbol": "AAPL", "dataTypes": {"quote": True}},
    {"symbol": 7, "dataTypes": ["quote"]},
    {"symbol": None, "dataTypes": ["quote"]},
    {"views": {}},
    {"views": []},
    {"views": None},
    {"views": {"AAPL": []}},
    {"views": {"AAPL": "quote"}},
    {"views": {"aapl": ["quote"]}},
    {"views": {"AAPL\n": ["quote"]}},
    {"views": {"AAPL": ["quote\n"]}},
    {"symbol": "AAPL", "dataTypes": ["quote"], "views": {"AAPL": [7]}},
    *(
        {"symbol": symbol, "dataTypes": ["quote"]}
        for symbol in ["", "aapl", "AAPL\n", "A" * 21, "-A", "A B", "A/B", "Ä"]
    ),
    *({"symbol": "AAPL", "dataTypes": [name]} for name in ["", "Quote", "quote\n", "a" * 42, "q' or 1=1", "__proto__"]),
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=repr)
async def test_what_does_not_fit_is_refused(stage: Stage, body: Any) -> None:
    answer = await stage.post(body)

    assert (answer.status, answer.code) == (400, "invalid_request")
    assert isinstance(stage.store, MemoryStore)
    assert stage.store.calls == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"symbol": "\xff"}', b'{"more":' + b"[" * 4_000, b"null null", b"NaN", b'"\\ud800"'],
    ids=lambda body: repr(body[:12]),
)
async def test_what_is_no_json_is_refused(stage: Stage, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {hs256()}", "Content-Type": "application/json"}
    async with stage.client.post(TRACK_PATH, data=body, headers=headers) as response:
        answer = await Answer.of(response)

    assert answer.status == 400
    assert answer.code in {"invalid_json", "invalid_request"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "symbol": JSON | st.from_regex(r"\A[A-Z0-9^][A-Z0-9.^=-]{0,19}\Z"),
        "dataTypes": JSON | st.lists(st.sampled_from(["quote", "profile", "nothing"]) | st.text(), max_size=25),
        "views": JSON | st.dictionaries(st.sampled_from(["AAPL", "aapl"]), st.lists(st.sampled_from(["quote", ""]))),
        "userId": JSON,
    },
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.one_of(REQUESTS.map(json.dumps).map(str.encode), JSON.map(json.dumps).map(str.encode), st.binary()))
async def test_no_body_is_a_defect_of_ours(log: LogRecorder, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {hs256()}", "Content-Type": "application/json"}
    async with staged() as stage, stage.client.post(TRACK_PATH, data=body, headers=headers) as response:
        answer = await Answer.of(response)

    assert answer.status in {200, 400, 413}
    if answer.status != 200:
        assert answer.code
    assert log.lines == []


# --- methods and origins ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [TRACK_PATH, UNTRACK_PATH])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "PURGE"])
async def test_other_methods_are_told_which_one_is_meant(stage: Stage, path: str, method: str) -> None:
    async with stage.client.request(method, path) as response:
        answer = await Answer.of(response)

    assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "method_not_allowed", "POST, OPTIONS")


async def test_a_preflight_of_an_allowed_origin_names_what_a_supabase_client_sends(stage: Stage) -> None:
    headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    async with stage.client.options(TRACK_PATH, headers=headers) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert response.headers["Access-Control-Allow-Methods"] == "POST"
        assert response.headers["Access-Control-Allow-Headers"] == "authorization, apikey, content-type, x-client-info"
        assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{ORIGIN}.evil.example", "http://app.example"])
async def test_another_origin_may_not_ask_nor_read(stage: Stage, origin: str) -> None:
    async with stage.client.options(TRACK_PATH, headers={"Origin": origin}) as response:
        preflight = await Answer.of(response)
    asked = await stage.post(Origin=origin)

    assert (preflight.status, preflight.code) == (403, "origin_not_allowed")
    for answer in (preflight, asked):
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_an_allowed_page_may_read_errors_and_limits_too(stage: Stage) -> None:
    good, bad = await stage.post(Origin=ORIGIN), await stage.post(token="", Origin=ORIGIN)

    for answer in (good, bad):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "RateLimit-Remaining" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in good.headers


async def test_every_origin_may_be_allowed() -> None:
    async with staged(origins=["*"]) as stage:
        answer = await stage.post(Origin="https://anybody.example")

    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in answer.headers


async def test_options_without_an_origin_names_the_methods(stage: Stage) -> None:
    async with stage.client.options(TRACK_PATH) as response:
        assert (response.status, response.headers["Allow"]) == (204, "POST, OPTIONS")


async def test_the_description_needs_no_token(stage: Stage) -> None:
    async with stage.client.get(OPENAPI_PATH) as response:
        document = await response.json()

    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {TRACK_PATH, UNTRACK_PATH}


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_a_user_is_limited_wherever_they_are_and_told_when_to_come_back() -> None:
    async with staged(per_user=3) as stage:
        answers = []
        for path in (TRACK_PATH, UNTRACK_PATH, TRACK_PATH, TRACK_PATH):
            answers.append(await stage.post(path=path))
            stage.clock.move(10)
        other = await stage.post(token=hs256(sub="user-2"))
        stage.clock.move(21)
        later = await stage.post()

    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"3"}
    assert (answers[3].code, answers[3].headers["Retry-After"]) == ("too_many_requests", "30")
    assert answers[3].headers["RateLimit-Reset"] == "30"
    assert "Retry-After" not in answers[0].headers
    assert (other.status, later.status) == (200, 200)


async def test_the_tighter_limit_is_the_one_that_is_told() -> None:
    async with staged(per_user=10, per_address=3) as stage:
        answer = await stage.post()

    assert (answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"]) == ("3", "2")


async def test_a_thousand_requests_of_one_address_leave_others_served() -> None:
    async with staged(per_address=100) as stage:
        sent = [stage.post(token=anonymous_key()) for _ in range(1_000)]
        statuses = [answer.status for answer in await asyncio.gather(*sent)]
        async with (
            ClientSession(stage.url, connector=TCPConnector(local_addr=("127.0.0.2", 0))) as other,
            other.post(TRACK_PATH, json=AAPL_QUOTE, headers={"Authorization": f"Bearer {hs256()}"}) as response,
        ):
            served = response.status

    assert (statuses.count(200), statuses.count(429), served) == (100, 900, 200)


async def test_bad_tokens_count_against_their_address() -> None:
    async with staged(per_address=2) as stage:
        statuses = [(await stage.post(token="bad")).status for _ in range(3)]

    assert statuses == [401, 401, 429]


async def test_behind_a_trusted_proxy_each_client_has_its_own_limit() -> None:
    async with staged(per_address=1, proxies=["127.0.0.0/8"]) as stage:
        statuses = [(await stage.post(X_Forwarded_For=f"203.0.113.{number}")).status for number in (1, 2, 1)]

    assert statuses == [200, 200, 429]


async def test_without_a_trusted_proxy_nobody_chooses_their_address() -> None:
    async with staged(per_address=1) as stage:
        statuses = [(await stage.post(X_Forwarded_For=f"203.0.113.{number}")).status for number in (1, 2)]

    assert statuses == [200, 429]


PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["," * 10_000], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        ("2001:db8::1%eth0", [], "2001:db8::/64"),
        (None, ["198.51.100.1"], "unknown"),
        ("", ["198.51.100.1"], "unknown"),
    ],
)
def test_addresses_are_believed_as_far_as_proxies_are_trusted(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    assert client_address(peer, forwarded, PROXIES) == address


async def test_windows_are_bounded_and_those_used_longest_ago_are_forgotten_first() -> None:
    clock = StandingClock()
    storage = WindowStorage(clock.monotonic, max_keys=2)
    for key in ("a", "b", "a", "c"):
        assert await storage.acquire_entry(key, 2, 60)

    assert [await storage.get(key) for key in ("a", "b", "c")] == [2, 0, 1]
    assert not await storage.acquire_entry("a", 2, 60)
    clock.move(60)
    assert await storage.acquire_entry("a", 2, 60)


# --- what goes wrong here --------------------------------------------------------------------------------------------


async def test_a_database_outage_is_a_503_that_names_no_server() -> None:
    async with staged(store=MemoryStore(is_down=True)) as stage:
        answer = await stage.post()

    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "5")
    assert "db.internal" not in json.dumps(answer.body)


async def test_a_defect_is_a_500_that_is_logged_and_tells_nothing(log: LogRecorder) -> None:
    async with staged(store=MemoryStore(defect=LookupError("a secret detail"))) as stage:
        answer = await stage.post()

    assert (answer.status, answer.code) == (500, "internal_error")
    assert "secret" not in json.dumps(answer.body)
    (line,) = log.of("web_request_failed")
    assert (line["path"], line["exc_info"]) == (TRACK_PATH, True)


async def test_untracking_only_acknowledges(stage: Stage) -> None:
    answer = await stage.post(path=UNTRACK_PATH)

    assert (answer.status, answer.body) == (200, {"acknowledged": True})
    assert isinstance(stage.store, MemoryStore)
    assert stage.store.calls == []


async def test_untracking_needs_a_token_too(stage: Stage) -> None:
    assert (await stage.post(path=UNTRACK_PATH, token="")).status == 401


async def test_answers_are_not_kept_and_not_taken_for_anything_else(stage: Stage) -> None:
    answer = await stage.post()

    assert answer.headers["Content-Type"].startswith("application/json")
    assert (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
