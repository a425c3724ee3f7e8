"""What a page with the module says and is told, in Chromium with the official client."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from daemon.contracts import Pair
from daemon.presence.metadata import SERVER_KEYS, View, ViewerRules, read_meta
from daemon.tickets import Tickets
from devstack.realtime.limits import PRO
from devstack.realtime.presence import Diff
from devstack.realtime.server import RealtimeServer
from devstack.realtime.tokens import mint_token
from tests.browser.data_api import MODULE, DataApi
from tests.browser.tabs import Tab, Tabs, chromium, find_client
from tests.databases import TestDatabase
from tests.presence.stage import LOBBY, SECRET, AnySymbol

QUOTE = ["quote"]
AAPL = "symbol:AAPL"
PRICE = "insert into live_quote_indicators (symbol, price, fetched_at) values ($1, $2, now())"
NEW_PRICE = "update live_quote_indicators set price = $2, fetched_at = now() where symbol = $1"
STATE = """
insert into refresh_state_v2 (symbol, data_type, last_checked_at, last_outcome, fresh_until)
values ($1, $2, now(), $3, now() + make_interval(secs => $4))
on conflict (symbol, data_type) do update
set last_checked_at = excluded.last_checked_at, last_outcome = excluded.last_outcome, fresh_until = excluded.fresh_until
"""


@dataclass(frozen=True)
class Stage:
    """Everything that a page talks to."""

    realtime: RealtimeServer
    api: DataApi
    owner: asyncpg.Connection[asyncpg.Record]
    tabs: Tabs

    async def refresh(self, symbol: str, price: float, *, fresh_seconds: float = 60.0) -> None:
        """Do what the daemon does when a quote has come: row and state in one transaction."""
        async with self.owner.transaction():
            if (await self.owner.execute(NEW_PRICE, symbol, price)).endswith(" 0"):
                await self.owner.execute(PRICE, symbol, price)
            await self.check(symbol, "quote", "changed", fresh_seconds)

    async def check(self, symbol: str, data_type: str, outcome: str, fresh_seconds: float) -> None:
        """Have a pair checked without a change of its rows."""
        await self.owner.execute(STATE, symbol, data_type, outcome, fresh_seconds)

    def tracked(self, topic: str = LOBBY) -> list[dict[str, Any]]:
        """Return what pages track, without what the server adds."""
        metas = [meta for each in self.realtime.presences(topic).values() for meta in each]
        return [{name: value for name, value in meta.items() if name not in SERVER_KEYS} for meta in metas]

    async def until_tracked(self, *expected: dict[str, Any], topic: str = LOBBY) -> None:
        """Wait until pages track this and nothing else."""
        try:
            await self.realtime.until(lambda: self.tracked(topic) == list(expected), timeout_seconds=15)
        except TimeoutError:
            assert self.tracked(topic) == list(expected)

    def count_tracks(self, topic: str = LOBBY) -> Counter[str]:
        """Count from now on how often the server is told of something there."""
        counted: Counter[str] = Counter()

        def count(diff: Diff) -> list[Diff]:
            counted["tracks" if diff["joins"] else "untracks"] += 1
            return [diff]

        self.realtime.switches.diffs[topic] = count
        return counted


def page_of(*symbols: str, types: list[str] = QUOTE) -> dict[str, Any]:
    return {"userId": "ada", "views": dict.fromkeys(symbols, types)}


async def price(tab: Tab, card: str, expected: float, **more: Any) -> dict[str, Any]:
    """Wait until a card is told this price; return all that it is told with it."""
    async with asyncio.timeout(20):
        while True:
            value = await tab.next("value", card=card, **more)
            if value["row"] and value["row"]["price"] == expected:
                return value


@pytest.fixture
async def stage(urls: TestDatabase) -> AsyncIterator[Stage]:
    """A Realtime server with the limits of a hosted one, PostgreSQL with the schema, and a browser."""
    client = find_client()
    async with AsyncExitStack() as stack:
        realtime = await stack.enter_async_context(RealtimeServer(SECRET, limits=PRO))
        await stack.enter_async_context(realtime.following(urls.owner_url))
        api, url = await stack.enter_async_context(DataApi.serving(urls.owner_url, client))
        owner = await asyncpg.connect(urls.owner_url)
        stack.push_async_callback(owner.close)
        browser = await stack.enter_async_context(chromium())
        yield Stage(realtime, api, owner, Tabs(browser, url, realtime.url, mint_token(SECRET, "anon")))


async def test_a_page_tracks_what_it_shows_as_the_daemon_reads_it_and_hears_of_nobody(stage: Stage) -> None:
    async with stage.tabs.open(userId="ada") as tab, stage.tabs.open() as other:
        await tab.do("watch", "card", "AAPL", ["quote", "profile"])
        await stage.until_tracked(page_of("AAPL", types=["profile", "quote"]))
        await other.do("watch", "card", "MSFT", "quote")
        await stage.realtime.until(lambda: len(stage.tracked()) == 2)
        await tab.do("watch", "second", "NVDA", QUOTE)
        await stage.realtime.until(lambda: any(len(meta["views"]) == 2 for meta in stage.tracked()))

        drops: Counter[str] = Counter()
        views = [read_meta("key", "ref", meta, AnySymbol(), drops) for meta in stage.tracked()]
        looked_at = (Pair("AAPL", "profile"), Pair("AAPL", "quote"), Pair("NVDA", "quote"))
        assert View("user:ada", looked_at) in views
        assert View("conn:key:ref", (Pair("MSFT", "quote"),)) in views
        assert not drops
        heard = "".join(tab.frames + other.frames)
        assert "phx_reply" in heard
        assert "presence" not in re.sub(r"presence\W+enabled", "", heard)


async def test_a_card_is_told_the_value_that_is_there_and_every_later_one(stage: Stage) -> None:
    await stage.refresh("AAPL", 1.5)
    async with stage.tabs.open(userId="ada") as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        first = await price(tab, "card", 1.5)
        assert (first["symbol"], first["dataType"], first["outcome"]) == ("AAPL", "quote", "changed")
        assert first["isFresh"]
        assert first["checkedAt"] < first["freshUntil"]
        await stage.until_tracked(page_of("AAPL"))

        await stage.refresh("MSFT", 9)
        await stage.refresh("AAPL", 2.5)

        second = await price(tab, "card", 2.5)
        assert second["rows"] == [second["row"]]
        while second["checkedAt"] == first["checkedAt"]:  # the row comes first, and then how it is
            second = await price(tab, "card", 2.5)
        assert second["checkedAt"] > first["checkedAt"]


async def test_a_value_that_was_checked_and_is_the_same_becomes_fresh_again(stage: Stage) -> None:
    await stage.refresh("AAPL", 1.5, fresh_seconds=0.5)
    async with stage.tabs.open() as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await tab.next("value", isFresh=False, outcome="changed")

        await stage.check("AAPL", "quote", "unchanged", 60)

        value = await tab.next("value", isFresh=True)
        assert (value["outcome"], value["row"]["price"]) == ("unchanged", 1.5)


async def test_a_symbol_of_which_nothing_is_known_yet_is_told_as_nothing_and_then_as_what_comes(stage: Stage) -> None:
    async with stage.tabs.open() as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        nothing = await tab.next("value")
        assert (nothing["row"], nothing["checkedAt"], nothing["isFresh"]) == (None, None, False)

        await stage.refresh("AAPL", 3)

        await price(tab, "card", 3, isFresh=True)


async def dividends(tab: Tab, *expected: float) -> None:
    """Wait until the card shows these: once its channel stands, it may first be told again what it had read before."""
    while [row["dividend"] for row in (await tab.next("value", dataType="dividend-history"))["rows"]] != [*expected]:
        pass


async def test_types_with_many_rows_and_those_of_no_symbol_are_told_whole(stage: Stage) -> None:
    dividend = "insert into dividend_history (symbol, date, dividend) values ('AAPL', $1::text::date, $2)"
    exchange = "insert into exchange_market_status (exchange, is_market_open) values ($1, true)"
    await stage.owner.execute(dividend, "2026-02-01", 1)
    await stage.owner.execute(dividend, "2026-08-01", 2)
    await stage.owner.execute(exchange, "NASDAQ")
    await stage.check("GLOBAL", "exchange-market-status", "changed", 60)
    async with stage.tabs.open() as tab:
        await tab.do("watch", "card", "AAPL", ["dividend-history"])
        value = await tab.next("value", dataType="dividend-history")
        assert (value["row"]["dividend"], [row["dividend"] for row in value["rows"]]) == (2, [2, 1])
        await tab.do("watch", "hours", "AAPL", ["exchange-market-status"])
        value = await tab.next("value", dataType="exchange-market-status")
        assert (value["row"]["exchange"], value["isFresh"]) == ("NASDAQ", True)
        await stage.realtime.until(lambda: stage.realtime.members(AAPL) == 1)

        await stage.owner.execute(dividend, "2026-11-01", 3)
        await dividends(tab, 3, 2, 1)
        await stage.owner.execute("delete from dividend_history where dividend = 2")
        await dividends(tab, 3, 1)


async def test_a_type_that_is_added_to_a_symbol_is_followed_too(stage: Stage) -> None:
    await stage.refresh("AAPL", 1)
    async with stage.tabs.open() as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await price(tab, "card", 1)
        await stage.realtime.until(lambda: stage.realtime.members(AAPL) == 1)
        await tab.do("watch", "about", "AAPL", ["profile"])
        await tab.next("value", card="about", row=None)

        await stage.owner.execute("insert into profiles (symbol, company_name) values ('AAPL', '<b>Apple</b>')")
        while not (told := await tab.next("value", card="about"))["row"]:
            pass  # once the channel has joined anew, the card may first be told again that there is nothing
        assert told["row"]["company_name"] == "<b>Apple</b>"
        await stage.refresh("AAPL", 2)
        await price(tab, "card", 2)


async def test_two_cards_share_what_they_watch_and_one_that_closes_does_not_silence_the_other(stage: Stage) -> None:
    await stage.refresh("AAPL", 1)
    async with stage.tabs.open(userId="ada") as tab:
        await tab.do("watch", "first", "AAPL", QUOTE)
        await price(tab, "first", 1)
        await tab.do("watch", "second", "AAPL", QUOTE)
        await price(tab, "second", 1)
        await stage.until_tracked(page_of("AAPL"))
        tracks = stage.count_tracks()

        await tab.do("stop", "first")
        await tab.do("stop", "first")
        await stage.refresh("AAPL", 2)
        await price(tab, "second", 2)
        assert stage.tracked() == [page_of("AAPL")]
        assert not tracks

        await tab.do("stop", "second")
        await stage.until_tracked()
        await stage.realtime.until(lambda: stage.realtime.topics("") == [])


async def test_a_card_that_only_counts_reads_nothing(stage: Stage) -> None:
    async with stage.tabs.open(userId="ada", flagTable=None) as tab:
        await tab.do("watch", "card", "AAPL", QUOTE, True)

        await stage.until_tracked(page_of("AAPL"))
        assert stage.api.requests == []
        assert stage.realtime.topics("symbol:") == []


async def test_a_broken_card_breaks_nothing(stage: Stage) -> None:
    await stage.refresh("AAPL", 1)
    async with stage.tabs.open() as tab:
        await tab.do("watch_badly", "AAPL", "quote")
        await tab.next("error", message="the card is broken")

        await tab.do("watch", "card", "AAPL", QUOTE)
        await price(tab, "card", 1)


async def test_thirty_quick_changes_are_few_tracks_and_the_last_one_counts(stage: Stage) -> None:
    tracks = stage.count_tracks()
    async with stage.tabs.open(userId="ada", trackIntervalSeconds=8) as tab:
        await tab.do("watch", "card", "MSFT", QUOTE)
        await stage.until_tracked(page_of("MSFT"))

        await tab.do("flip_through", [f"S{number}" for number in range(30)], QUOTE)
        await stage.until_tracked(page_of("MSFT", "S29"))

        assert tracks == {"tracks": 2}
        assert stage.realtime.members(LOBBY) == 1


async def test_two_tabs_of_a_user_are_two_presences_of_one_viewer(stage: Stage) -> None:
    async with stage.tabs.open(userId="ada") as first:
        await first.do("watch", "card", "AAPL", QUOTE)
        await stage.until_tracked(page_of("AAPL"))
        async with stage.tabs.open(userId="ada") as second:
            await second.do("watch", "card", "MSFT", QUOTE)
            await stage.until_tracked(page_of("AAPL"), page_of("MSFT"))
            assert len(stage.realtime.presences(LOBBY)) == 2

        await stage.until_tracked(page_of("AAPL"))


async def test_closing_gives_everything_back_and_another_can_follow_at_once(stage: Stage) -> None:
    async with stage.tabs.open(userId="ada") as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await stage.until_tracked(page_of("AAPL"))
        await tab.do("again")
        await tab.do("watch", "card", "MSFT", QUOTE)
        await stage.until_tracked(page_of("MSFT"))

        await tab.do("close")
        await tab.next("closed")
        await stage.realtime.until(lambda: stage.realtime.topics("") == [])
        await tab.do("watch", "card", "AAPL", QUOTE)
        await tab.next("error", message="watch after close")
        seen = len(stage.api.requests)
        await asyncio.sleep(0.6)
        assert len(stage.api.requests) == seen


async def test_after_a_lost_connection_the_page_counts_again_and_is_told_what_it_missed(stage: Stage) -> None:
    await stage.refresh("AAPL", 1)
    async with stage.tabs.open(userId="ada") as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await price(tab, "card", 1)
        await stage.until_tracked(page_of("AAPL"))

        stage.realtime.switches.http_status = 503
        stage.realtime.faults.reset()
        await stage.until_tracked()
        await stage.refresh("AAPL", 2)
        stage.realtime.switches.heal()

        await price(tab, "card", 2)
        await stage.until_tracked(page_of("AAPL"))
        assert [len(metas) for metas in stage.realtime.presences(LOBBY).values()] == [1]


async def test_channels_that_the_server_closes_or_crashes_are_joined_again(stage: Stage) -> None:
    async with stage.tabs.open(userId="ada") as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await stage.until_tracked(page_of("AAPL"))
        await stage.realtime.until(lambda: stage.realtime.members(AAPL) == 1)

        for topic in (LOBBY, AAPL):
            stage.realtime.faults.shut_down(topic, "Token has expired 0 seconds ago")
            await tab.next("error", message=f"{topic}: Token has expired 0 seconds ago")
        await stage.until_tracked(page_of("AAPL"))
        await stage.realtime.until(lambda: stage.realtime.members(AAPL) == 1)
        stage.realtime.faults.crash(LOBBY)
        await stage.until_tracked()

        await stage.until_tracked(page_of("AAPL"))
        await stage.refresh("AAPL", 4)
        await price(tab, "card", 4)


async def test_a_hidden_tab_stops_counting_after_a_while_and_counts_again_when_it_is_seen(stage: Stage) -> None:
    await stage.refresh("AAPL", 1)
    async with stage.tabs.open(userId="ada", hiddenSeconds=0.5) as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await price(tab, "card", 1)
        await stage.until_tracked(page_of("AAPL"))
        tracks = stage.count_tracks()
        await tab.do("show", "hidden")
        await tab.do("show", "visible")
        await tab.do("show", "hidden")

        await stage.until_tracked()
        assert tracks == {"untracks": 1}
        await stage.refresh("AAPL", 2)
        await tab.do("show", "visible")

        await stage.until_tracked(page_of("AAPL"))
        await price(tab, "card", 2)


async def test_the_function_gives_a_ticket_that_makes_the_viewer_verified(stage: Stage) -> None:
    tickets = Tickets(["a key of more than thirty-two bytes"], grace_seconds=60)
    stage.api.answer = {"ticket": tickets.issue("ada@example.org", datetime.now(UTC) + timedelta(minutes=15))}
    async with stage.tabs.open(userId="ada") as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await stage.until_tracked({**page_of("AAPL"), **stage.api.answer})

        assert stage.api.told == [{"name": "track-subscription-v2", "body": page_of("AAPL")}]
        rules = ViewerRules(verify=lambda ticket: tickets.verify(ticket, datetime.now(UTC)), ticket_required=True)
        view = read_meta("key", "ref", stage.tracked()[0], AnySymbol(), Counter(), rules)
        assert view == View("user:ada@example.org", (Pair("AAPL", "quote"),), verified=True)


@pytest.mark.parametrize("answer", [500, {"ticket": "<script>"}])
async def test_a_function_that_fails_or_answers_nonsense_changes_nothing(stage: Stage, answer: Any) -> None:
    stage.api.answer = answer
    await stage.refresh("AAPL", 1)
    async with stage.tabs.open(userId="ada") as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await stage.api.until_told(1)
        await price(tab, "card", 1)

        await tab.do("watch", "other", "MSFT", QUOTE)
        await stage.until_tracked(page_of("AAPL", "MSFT"))
        assert len(stage.api.told) == (1 if answer == 500 else 2)


async def test_without_a_function_none_is_called(stage: Stage) -> None:
    async with stage.tabs.open(userId="ada", trackFunction=None) as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)

        await stage.until_tracked(page_of("AAPL"))
        assert stage.api.told == []


async def test_symbols_can_have_topics_of_their_own_which_the_function_is_told(stage: Stage) -> None:
    await stage.refresh("AAPL", 1)
    async with stage.tabs.open(userId="ada", topics="symbol") as tab:
        await tab.do("watch", "card", "AAPL", ["quote", "profile"])
        await stage.until_tracked({"symbol": "AAPL", "dataTypes": ["profile", "quote"], "userId": "ada"}, topic=AAPL)
        await stage.api.until_told(1)
        await tab.do("watch", "other", "MSFT", QUOTE)
        await stage.until_tracked({"symbol": "MSFT", "dataTypes": QUOTE, "userId": "ada"}, topic="symbol:MSFT")
        await stage.api.until_told(2)

        views: list[Any] = [{"AAPL": ["profile", "quote"]}, {"MSFT": QUOTE}]
        assert [told["body"] for told in stage.api.told] == [
            {"userId": "ada", "topics": "symbol", "views": each} for each in views
        ]
        await stage.refresh("AAPL", 2)
        await price(tab, "card", 2)
        await tab.do("stop", "card")
        await stage.until_tracked(topic=AAPL)
        assert stage.realtime.topics("viewers:") == []


async def test_flags_that_pages_may_read_decide_what_counts(stage: Stage) -> None:
    await stage.owner.execute("create view page_flags as select flag_name, enabled from feature_flags")
    await stage.owner.execute("grant select on page_flags to anon")
    turn_on = "update feature_flags set enabled = true where flag_name = any ($1)"
    await stage.owner.execute(turn_on, ["migrate_quote_type"])
    await stage.refresh("AAPL", 1)
    async with stage.tabs.open(userId="ada", flagTable="page_flags") as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await price(tab, "card", 1)
        await stage.realtime.until(lambda: stage.realtime.members(AAPL) == 1)
        assert stage.realtime.topics("viewers:") == []
        assert stage.api.told == []

    await stage.owner.execute(turn_on, ["use_presence_tracking"])
    async with stage.tabs.open(userId="ada", flagTable="page_flags") as tab:
        await tab.do("watch", "card", "AAPL", ["quote", "profile"])
        await stage.until_tracked(page_of("AAPL"))


async def test_flags_that_pages_may_not_read_count_as_on_and_are_asked_for_once(stage: Stage) -> None:
    async with stage.tabs.open(userId="ada") as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)

        await stage.until_tracked(page_of("AAPL"))
        assert len([path for path in stage.api.requests if "feature_flags" in path]) == 1


async def test_hostile_symbols_go_nowhere(stage: Stage) -> None:
    hostile: list[Any] = [
        "<img src=x onerror=alert(1)>",
        "AAPL,MSFT)",
        "AAPL&select=*",
        "__proto__",
        "aapl",
        "",
        None,
        {},
        7,
    ]
    refused = "watch: this is no symbol, or no data type"
    async with stage.tabs.open(userId="ada", flagTable=None) as tab:
        for symbol in hostile:
            await tab.do("watch", "card", symbol, QUOTE)
            await tab.next("error", message=refused)
            await tab.do("stop", "card")
        await tab.do("watch", "card", "AAPL", ["constructor", "<script>"])
        await tab.next("error", message=refused)
        assert stage.api.requests == []

        await tab.do("watch", "card", "MSFT", QUOTE)
        await stage.until_tracked(page_of("MSFT"))


async def test_the_status_says_how_old_a_value_is_and_how_it_went(stage: Stage) -> None:
    await stage.check("AAPL", "quote", "failed", -5)
    async with stage.tabs.open() as tab:
        await tab.do("status", "AAPL", "quote")
        status = (await tab.next("status"))["status"]
        assert (status["outcome"], status["isFresh"]) == ("failed", False)
        assert 0 <= status["ageSeconds"] < 60

        for unknown in ("MSFT", "<script>"):
            await tab.do("status", unknown, "quote")
            assert (await tab.next("status"))["status"] is None


async def test_the_status_view_may_lose_its_suffix_under_pages_and_before_them(stage: Stage) -> None:
    await stage.refresh("AAPL", 1, fresh_seconds=0.5)
    async with stage.tabs.open() as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await tab.next("value", outcome="changed", isFresh=False)

        await stage.owner.execute("alter view refresh_status_v2 rename to refresh_status")
        await tab.do("watch_badly", "MSFT", "quote")  # it fails once it is told something, which is after the switch
        assert (await tab.next("error"))["message"] == "the card is broken"
        await stage.check("AAPL", "quote", "unchanged", 60)
        await tab.next("value", outcome="unchanged", isFresh=True)

    stage.api.absent = "PGRST205"  # as soon as PostgREST has read the schema anew
    stage.api.requests.clear()
    async with stage.tabs.open() as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await price(tab, "card", 1, outcome="unchanged")
        await stage.check("AAPL", "quote", "failed", -1)
        await tab.do("status", "AAPL", "quote")
        assert (await tab.next("status"))["status"]["outcome"] == "failed"
        assert len([path for path in stage.api.requests if "refresh_status_v2" in path]) == 1


async def test_what_the_page_has_subscribed_to_itself_stays_as_it_is(stage: Stage) -> None:
    async with stage.tabs.open(userId="ada") as tab:
        await tab.do("follow_itself", AAPL, "live_quote_indicators")
        await tab.next("system", message="Subscribed to PostgreSQL")
        await tab.do("watch", "card", "AAPL", QUOTE)
        said = (await tab.next("error"))["message"]
        assert said == f"{AAPL}: this channel of the client is in use: by the page itself, or by another createRefresh"
        await stage.until_tracked(page_of("AAPL"))

        await stage.refresh("AAPL", 5)
        assert (await tab.next("own"))["row"]["price"] == 5
        await tab.do("close")
        await tab.next("closed")
        await stage.refresh("AAPL", 6)
        assert (await tab.next("own"))["row"]["price"] == 6


async def test_a_page_without_rows_or_realtime_says_so_and_goes_on(stage: Stage) -> None:
    stage.realtime.switches.http_status = 401
    async with stage.tabs.open(userId="ada", statusView="no_such_view") as tab:
        await tab.do("watch", "card", "AAPL", QUOTE)
        await tab.next("error")
        assert (await tab.next("value"))["row"] is None

        stage.realtime.switches.heal()
        await stage.until_tracked(page_of("AAPL"))


def test_the_module_makes_no_html_and_depends_on_nothing() -> None:
    for path in MODULE.glob("*.js"):
        source = path.read_text()
        assert not re.search(r"innerHTML|insertAdjacent|document\.write|eval\(|Function\(", source)
        assert all(name.startswith("./") for name in re.findall(r"from '([^']+)'", source))
