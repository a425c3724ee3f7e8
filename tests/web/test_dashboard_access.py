"""Who sees the dashboard: this machine, or whoever has the token; on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, CookieJar
from yarl import URL

from daemon.store.database import Database
from daemon.web.dashboard_access import COOKIE, required_token
from tests.web.dashboard_stage import staged

pytestmark = pytest.mark.direct

TOKEN = "a token that is long enough, with ünicode"
PATHS = ("/", "/events", "/static/dashboard.js", "/static/vendor/uplot/uPlot.iife.min.js")


@asynccontextmanager
async def asking(database: Database, token: str | None = None) -> AsyncIterator[ClientSession]:
    """Serve a dashboard, and give a client of it that keeps cookies."""
    async with staged(database, token=token) as stage, stage.listening():
        jar = CookieJar(unsafe=True)  # takes cookies of an address that is no name
        async with ClientSession(stage.url, cookie_jar=jar) as client:
            yield client


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Cookie": f"{COOKIE}=wrong"}],
)
async def test_without_the_token_nothing_is_shown(database: Database, path: str, headers: dict[str, str]) -> None:
    async with asking(database, TOKEN) as client, client.get(path, headers=headers) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "token" in await answer.text()
        assert TOKEN not in await answer.text()


@pytest.mark.parametrize("path", PATHS)
async def test_a_bearer_token_is_enough(database: Database, path: str) -> None:
    async with (
        asking(database, "simple-token") as client,
        client.get(path, headers={"Authorization": "Bearer simple-token"}) as answer,
    ):
        assert answer.status == 200


async def test_the_query_is_traded_for_a_cookie_that_is_not_the_token(database: Database) -> None:
    async with asking(database, TOKEN) as client:
        url = URL("/").with_query(token=TOKEN)
        async with client.get(url, allow_redirects=False) as answer:
            cookie = answer.cookies[COOKIE]
            assert (answer.status, answer.headers["Location"]) == (303, "./")
            assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
            assert TOKEN not in cookie.value
        for path in PATHS:
            async with client.get(path) as answer:
                assert answer.status == 200


async def test_a_wrong_token_in_the_query_gets_no_cookie(database: Database) -> None:
    async with asking(database, TOKEN) as client, client.get("/?token=wrong", allow_redirects=False) as answer:
        assert answer.status == 401
        assert COOKIE not in answer.cookies


async def test_a_cookie_of_another_token_is_refused(database: Database) -> None:
    async with (
        asking(database, "the old one") as client,
        client.get("/?token=the%20old%20one", allow_redirects=False) as answer,
    ):
        old = answer.cookies[COOKIE].value
    async with (
        asking(database, "the new one") as client,
        client.get("/", headers={"Cookie": f"{COOKIE}={old}"}) as answer,
    ):
        assert answer.status == 401


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8797", "LOCALHOST:1", "[::1]:8797", "127.9.9.9"])
async def test_without_a_token_this_machine_is_admitted(database: Database, host: str) -> None:
    async with asking(database) as client, client.get("/", headers={"Host": host}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example:8797"},
        {"Host": "127.0.0.1.rebound.example"},
        {"Host": "0.0.0.0"},
        {"Host": "[::1"},
        {"Host": "[::2]:80"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"Via": "1.1 proxy"},
    ],
)
async def test_without_a_token_nobody_else_is(database: Database, path: str, headers: dict[str, str]) -> None:
    async with asking(database) as client, client.get(path, headers=headers) as answer:
        assert answer.status in {400, 403}


async def test_pages_of_other_origins_get_no_stream(database: Database) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    async with asking(database) as client, client.get("/events", headers=headers) as answer:
        assert answer.status == 403


@pytest.mark.parametrize(
    "path",
    ["/static/../dashboard.py", "/static/%2e%2e/dashboard.py", "/static/vendor/uplot/LICENSE", "/static/", "/static/x"],
)
async def test_only_what_the_page_is_made_of_is_served(database: Database, path: str) -> None:
    async with asking(database) as client, client.get(URL(path, encoded=True)) as answer:
        assert answer.status == 404


async def test_every_answer_says_what_a_browser_may_do_with_it(database: Database) -> None:
    async with asking(database) as client:
        for path in (*PATHS, "/static/x"):
            async with client.get(path) as answer:
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_off_loopback_there_is_always_a_token() -> None:
    assert required_token("127.0.0.1", "") is None
    assert required_token("::1", "") is None
    assert required_token("localhost", "") is None
    assert required_token("127.0.0.1", "configured") == "configured"
    assert required_token("0.0.0.0", "configured") == "configured"
    unknown = [required_token(host, "") for host in ("0.0.0.0", "::", "10.0.0.1", "example.org")]
    assert all(token and len(token) > 40 for token in unknown)
    assert len(set(unknown)) == 4
