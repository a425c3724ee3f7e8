"""Pages with the official JavaScript client as viewers: what they show is what the daemon's listener hears."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from daemon.contracts import KnownTopic, Pair
from devstack.postgres import EmbeddedPostgres
from devstack.realtime.server import RealtimeServer
from devstack.realtime.tokens import mint_token
from tests.databases import database_of
from tests.javascript.pages import NodePages, Options, Pages, in_a_browser
from tests.presence.stage import AAPL, LOBBY, SECRET, Stage, listening, looking_at

SYMBOL_TOPIC = "symbol:AAPL"


@pytest.fixture(params=["node", "chromium"])
async def pages(request: pytest.FixtureRequest) -> AsyncIterator[Pages]:
    """Both places where the client runs."""
    if request.param == "node":
        yield NodePages()
    else:
        async with in_a_browser() as browser:
            yield browser


def visitor(server: RealtimeServer, vsn: str = "2.0.0", role: str = "anon") -> Options:
    """Return what a page connects with."""
    token = mint_token(SECRET, role)
    url = server.url.replace("http", "ws") + "/realtime/v1"
    return {"url": url, "key": token, "token": token, "vsn": vsn}


async def viewers(stage: Stage, **expected: int) -> None:
    """Wait until so many look at the quotes of these symbols."""
    wanted = {Pair(symbol, "quote"): number for symbol, number in expected.items()}
    await stage.demand.until(lambda: wanted.items() <= stage.demand.viewers.items(), seconds=20)


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_a_page_comes_changes_what_it_shows_and_goes(server: RealtimeServer, pages: Pages, vsn: str) -> None:
    async with listening(server.url) as stage:
        async with pages.open(visitor(server, vsn)) as page:
            await page.do("show", LOBBY, looking_at("AAPL"))
            await viewers(stage, AAPL=1)

            await page.do("show", LOBBY, looking_at("MSFT"))
            await viewers(stage, AAPL=0, MSFT=1)
            assert len(server.presences(LOBBY)) == 1

            await page.do("show", LOBBY, None)
            await viewers(stage, MSFT=0)

            await page.do("show", LOBBY, looking_at("AAPL", "MSFT"))
            await viewers(stage, AAPL=1, MSFT=1)

        await viewers(stage, AAPL=0, MSFT=0)
        assert stage.listener.status().drops == {}


async def test_two_tabs_of_one_user_are_one_viewer_of_all_they_show(server: RealtimeServer, pages: Pages) -> None:
    async with (
        listening(server.url) as stage,
        pages.open(visitor(server)) as first,
        pages.open(visitor(server)) as second,
    ):
        await first.do("show", LOBBY, looking_at("AAPL"))
        await viewers(stage, AAPL=1)
        await second.do("show", LOBBY, looking_at("AAPL", "MSFT"))
        await viewers(stage, AAPL=1, MSFT=1)

        await second.do("leave")

        await viewers(stage, MSFT=0)
        assert stage.demand.viewers[AAPL] == 1


async def test_a_page_of_one_symbol_is_heard_on_that_symbols_topic(server: RealtimeServer, pages: Pages) -> None:
    async with (
        listening(server.url, lobbies=0, groups=1, look_for_topics_seconds=0.02) as stage,
        pages.open(visitor(server)) as page,
    ):
        stage.shards.topics = [KnownTopic(SYMBOL_TOPIC, 0.0)]
        await page.do("show", SYMBOL_TOPIC, {"symbol": "AAPL", "dataTypes": ["quote"], "userId": "ada"})

        await viewers(stage, AAPL=1)


async def test_pages_and_daemon_come_back_after_a_reset_and_nobody_counts_twice(
    server: RealtimeServer, pages: Pages
) -> None:
    async with listening(server.url) as stage, pages.open(visitor(server)) as page:
        await page.do("show", LOBBY, looking_at("AAPL"))
        await viewers(stage, AAPL=1)

        server.faults.reset()
        await page.next("status", status="CHANNEL_ERROR")
        await page.next("status", status="SUBSCRIBED")
        await page.next("tracked", answer="ok")
        await page.do("show", LOBBY, looking_at("AAPL", "MSFT"))

        await viewers(stage, AAPL=1, MSFT=1)
        assert [len(metas) for metas in server.presences(LOBBY).values()] == [1]


async def test_a_visitor_sees_nobody_and_is_refused_elsewhere(server: RealtimeServer, pages: Pages) -> None:
    async with pages.open(visitor(server)) as page:
        await page.do("show", "chat:1", looking_at("AAPL"))

        refused = await page.next("status", status="CHANNEL_ERROR")
        assert "Unauthorized" in refused["error"]


async def test_a_broadcast_goes_out_and_comes_back_in_binary_frames(server: RealtimeServer, pages: Pages) -> None:
    async with pages.open(visitor(server, role="service_role")) as page:
        await page.do("listen", "news", "tick é")
        await page.next("status", status="SUBSCRIBED")

        await page.do("say", "news", "tick é", {"price": 1.5, "text": "ünï"})

        assert (await page.next("heard"))["payload"] == {"price": 1.5, "text": "ünï"}
        assert (await page.next("said"))["answer"] == "ok"


async def test_a_page_gets_the_rows_it_follows(
    server: RealtimeServer, pages: Pages, postgres: EmbeddedPostgres
) -> None:
    async with database_of(postgres) as urls, server.following(urls.owner_url):
        owner = await asyncpg.connect(urls.owner_url)
        async with pages.open(visitor(server, role="service_role")) as page:
            asked = {"event": "*", "schema": "public", "table": "live_quote_indicators", "filter": "symbol=eq.AAPL"}
            await page.do("follow", "prices", asked)
            await page.next("system")

            await owner.execute(
                "insert into live_quote_indicators (symbol, price, fetched_at)"
                " values ('MSFT', 1, now()), ('AAPL', 2.5, now())"
            )

            change = (await page.next("changed"))["change"]
            assert (change["eventType"], change["new"]["symbol"], change["new"]["price"]) == ("INSERT", "AAPL", 2.5)
            assert change["errors"] is None
        await owner.close()
