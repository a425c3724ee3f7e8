"""The watch list, in Chromium on the real stack with a real daemon: what a person sees, what other windows change."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from playwright.async_api import Browser, Locator, Page, expect

from daemon.store.database import Connection
from devstack.daemon_process import DaemonProcess
from devstack.postgres_cluster import free_ports
from devstack.site.rows import RowsError, build_query
from devstack.site.server import MODULE, STATIC, DemoSite, daemon_settings
from devstack.stack import LOBBY, Stack
from tests.browser.tabs import chromium, find_client
from tests.operations.stage import url_of
from tests.test_end_to_end import FAST, until_value

SYMBOLS = ["AAPL", "AMD", "AMZN", "MSFT"]
NOBODY_LOOKS = "select count(*) from active_subscriptions_v2"
AGED = "update refresh_state_v2 set last_checked_at = now() - interval '70 s', fresh_until = now() - interval '10 s'"
HOSTILE = "<img src=x onerror=alert(1)>"

expect.set_options(timeout=20_000)


@dataclass(frozen=True)
class Stage:
    """Everything, with a site in front."""

    stack: Stack
    daemon: DaemonProcess
    site: DemoSite
    browser: Browser
    settings: dict[str, str]

    @asynccontextmanager
    async def window(self, path: str = "/", **options: Any) -> AsyncIterator[Page]:
        """Open a window, and see that nothing is thrown, refused by the policy or popped up in it."""
        wrong: list[str] = []
        page = await self.browser.new_page(**options)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
        try:
            await page.goto(self.site.url + path)
            await expect(page.locator("#add")).not_to_have_attribute("inert", "")
            yield page
            assert wrong == []
        finally:
            await page.close()


@asynccontextmanager
async def staged(client: Path | None = None) -> AsyncIterator[Stage]:
    async with (
        chromium() as browser,
        Stack(latency_seconds=0.02, durable=False, symbols=SYMBOLS, changes=True) as stack,
    ):
        settings = {**FAST, **daemon_settings(stack), "REFRESHD_HTTP_LISTEN": f"127.0.0.1:{next(free_ports())}"}
        daemon = await stack.start_daemon(settings)
        await daemon.until_event("realtime_connected")
        async with DemoSite(stack, await url_of(daemon), client=client) as site:
            yield Stage(stack, daemon, site, browser, settings)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as staged_here:
        yield staged_here


async def add(page: Page, text: str) -> None:
    await page.get_by_label("Symbol", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def reprice(stack: Stack, price: float) -> None:
    """Do what the daemon does when a quote has come: row and state in one transaction."""
    row, state = "update live_quote_indicators set price = $1", "update refresh_state_v2 set last_checked_at = now()"

    async def work(connection: Connection) -> None:
        await connection.execute(row, price)
        await connection.execute(state)

    await stack.owner.in_transaction(work)


def card_of(page: Page, symbol: str) -> Locator:
    return page.locator(f'article[data-symbol="{symbol}"]')


def pair_of(page: Page, symbol: str, data_type: str) -> Locator:
    return card_of(page, symbol).locator(f'[data-type="{data_type}"]')


@pytest.mark.parametrize("client", ["stand-in", "official"])
async def test_what_is_added_is_fetched_shown_and_heard_of_as_it_changes(client: str) -> None:
    async with staged(find_client() if client == "official" else None) as stage, stage.window() as page:
        await expect(page.locator("#client")).to_have_text(re.compile("stand-in|@supabase/supabase-js"))
        await add(page, "aapl")

        card = card_of(page, "AAPL")
        await expect(card.locator(".price")).to_have_text(re.compile(r"^\d+\.\d\d$"))
        await expect(card.locator(".change")).to_have_text(re.compile(r"^[▲▼■] \d+\.\d\d \(\d+\.\d\d %\)$"))
        await expect(card.locator(".name")).to_have_text("Apple Inc.")
        await expect(card.locator(".audience")).to_have_text("1 viewer")
        quote = pair_of(page, "AAPL", "quote")
        await expect(quote.locator(".outcome")).to_have_text("changed")
        await expect(quote.locator(".next")).to_have_text(re.compile(r"^next refresh in \d+ s$"))
        await expect(quote.locator(".quiet")).to_have_text(re.compile(r"1 viewer gain \d+, rank 1 of 1"))

        await reprice(stage.stack, 1234.5)  # seen at the latest when changes begin to arrive
        await expect(card.locator(".price")).to_have_text("1,234.50")
        await reprice(stage.stack, 2345.6)  # heard of
        await expect(card.locator(".price")).to_have_text("2,345.60")


async def test_the_bar_fills_as_the_value_ages_and_turns_when_it_is_stale(stage: Stage) -> None:
    async with stage.window() as page:
        await add(page, "AAPL")
        quote = pair_of(page, "AAPL", "quote")
        bar = quote.get_by_role("meter", name="Age of AAPL quote")
        await expect(quote).to_have_class(re.compile("fresh"))

        before = await bar.evaluate("(bar) => Number(bar.style.getPropertyValue('--share'))")
        await expect(quote.locator(".age")).to_have_text(re.compile(r"^[3-9] s of (?:5\d|60) s$"))
        after = await bar.evaluate("(bar) => Number(bar.style.getPropertyValue('--share'))")

        assert 0 <= before < after < 0.5
        await stage.daemon.stop()
        await stage.stack.owner.execute(AGED)
        await page.reload()
        await expect(quote).to_have_class(re.compile("stale"))
        await expect(quote.locator(".age")).to_have_text(re.compile(r"^stale: 7\d s old, fresh for 60 s$"))
        await expect(bar).to_have_attribute("aria-valuenow", "100")


async def test_a_second_window_raises_viewers_and_rank_in_the_first_until_it_is_closed(stage: Stage) -> None:
    async with stage.window("/?list=AAPL,MSFT") as page:
        aapl, msft = pair_of(page, "AAPL", "quote"), pair_of(page, "MSFT", "quote")
        await expect(aapl.locator(".rank")).to_have_text(re.compile("rank 1 of 2"))
        await expect(msft.locator(".rank")).to_have_text(re.compile("rank 1 of 2"))
        alone = await msft.locator(".rank").inner_text()

        async with stage.window("/?list=MSFT") as other:
            await expect(msft.locator(".quiet")).to_have_text(re.compile("2 viewers"))
            await expect(card_of(page, "MSFT").locator(".audience")).to_have_text("2 viewers")
            await expect(aapl.locator(".rank")).to_have_text(re.compile("rank 2 of 2"))
            assert await msft.locator(".rank").inner_text() != alone
            await expect(page.locator("#viewers")).to_have_text("2")
            await expect(pair_of(other, "MSFT", "quote").locator(".quiet")).to_have_text(re.compile("2 viewers"))

        await expect(msft.locator(".quiet")).to_have_text(re.compile("1 viewer "))
        await expect(aapl.locator(".rank")).to_have_text(re.compile("rank 1 of 2"))
        await expect(msft.locator(".rank")).to_have_text(alone)


async def test_what_is_no_symbol_is_refused_in_words_and_does_nothing(stage: Stage) -> None:
    refused = {
        HOSTILE: "This is no symbol",
        "'; drop table supported_symbols; --": "This is no symbol",
        "AAPL,MSFT": "This is no symbol",
        "NOSUCH": "NOSUCH is not in the allow-list",
        "   ": "Type a symbol",
    }
    async with stage.window() as page:
        for text, words in refused.items():
            await add(page, text)

            await expect(page.get_by_role("alert")).to_contain_text(words)
            await expect(page.get_by_label("Symbol", exact=True)).to_have_attribute("aria-invalid", "true")

        assert await page.locator("article, img").count() == 0
        assert await stage.stack.owner.fetchval(NOBODY_LOOKS) == 0
        assert stage.stack.realtime.members(LOBBY) == 1
        assert stage.stack.upstream.calls == 0


async def test_a_hostile_address_and_hostile_values_are_text(stage: Stage) -> None:
    async with stage.window(f"/?list={HOSTILE},AAPL:{HOSTILE}") as page:
        await expect(card_of(page, "AAPL").locator(".name")).to_have_text("Apple Inc.")

        await stage.stack.owner.execute("update profiles set company_name = $1", HOSTILE)
        await page.reload()

        await expect(card_of(page, "AAPL").locator(".name")).to_have_text(HOSTILE)
        assert await page.locator("article").count() == 1
        assert await page.locator("img").count() == 0
        assert page.url == f"{stage.site.url}/?list=AAPL"


async def test_symbols_are_completed_by_keyboard_and_types_are_chosen_and_left(stage: Stage) -> None:
    async with stage.window() as page:
        await page.get_by_label("Symbol", exact=True).press_sequentially("am")
        await expect(page.get_by_role("option")).to_have_text([re.compile("AMD"), re.compile("AMZN")])
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("ArrowDown")
        await expect(page.get_by_role("option", selected=True)).to_have_text(re.compile("AMZN"))
        await page.keyboard.press("Enter")

        card = card_of(page, "AMZN")
        await card.get_by_text("Show more of it").press("Enter")
        await card.get_by_role("checkbox", name="ratios-ttm").press("Space")
        ratios = pair_of(page, "AMZN", "ratios-ttm")
        await expect(ratios.locator(".value")).to_have_text(re.compile("price to earnings"))
        assert page.url.endswith("/?list=AMZN:ratios-ttm")

        await card.get_by_role("checkbox", name="ratios-ttm").press("Space")
        await expect(ratios).to_have_count(0)
        gone = "select count(*) from active_subscriptions_v2 where data_type = 'ratios-ttm'"
        await until_value(stage.stack, gone, 0)
        await card.get_by_role("button", name="Remove AMZN").press("Enter")
        await expect(page.get_by_label("Symbol", exact=True)).to_be_focused()
        await until_value(stage.stack, NOBODY_LOOKS, 0)


async def test_a_stopped_daemon_is_told_in_words_until_it_is_back(stage: Stage) -> None:
    async with stage.window("/?list=AAPL") as page:
        await expect(page.locator("#daemon")).to_have_text("ready")
        await expect(page.locator("#notice")).to_be_hidden()

        await stage.daemon.stop()

        await expect(page.locator("#notice")).to_contain_text("The daemon does not answer: nothing is refreshed")
        await expect(page.locator("#daemon")).to_have_text("no answer")
        await expect(pair_of(page, "AAPL", "quote").locator(".next")).to_have_text("not refreshed: no daemon")

        await stage.stack.start_daemon(stage.settings)
        await expect(page.locator("#daemon")).to_have_text("ready")
        await expect(page.locator("#notice")).to_be_hidden()


async def test_a_database_and_a_demo_that_are_gone_are_told_in_words(stage: Stage) -> None:
    async with stage.window("/?list=AAPL") as page:
        await expect(card_of(page, "AAPL").locator(".name")).to_have_text("Apple Inc.")

        await asyncio.to_thread(stage.stack.postgres.stop)
        await expect(page.locator("#notice")).to_contain_text("The database does not answer")
        await add(page, "MSFT")
        await expect(page.get_by_role("alert")).to_contain_text("MSFT cannot be added now")

        await stage.site.__aexit__()
        await expect(page.locator("#notice")).to_contain_text("The demo does not answer")
        await expect(card_of(page, "AAPL").locator(".name")).to_have_text("Apple Inc.")


async def test_a_window_counts_again_after_realtime_was_away(stage: Stage) -> None:
    realtime = stage.stack.realtime
    async with stage.window("/?list=AAPL") as page:
        await expect(card_of(page, "AAPL").locator(".audience")).to_have_text("1 viewer")

        await realtime.stop()
        await realtime.start()

        await realtime.until(lambda: len(realtime.presences(LOBBY)) == 1, timeout_seconds=30)
        for price in (4321, 5432):
            await reprice(stage.stack, price)
            await expect(card_of(page, "AAPL").locator(".price")).to_have_text(f"{price:,}.00")


async def test_the_page_fits_a_narrow_screen(stage: Stage) -> None:
    size = {"width": 360, "height": 740}
    async with stage.window("/?list=AAPL:ratios-ttm", viewport=size) as page:
        await expect(card_of(page, "AAPL").locator(".name")).to_have_text("Apple Inc.")
        await page.get_by_text("Show more of it").click()
        await page.get_by_text("What do I see?").click()

        assert await page.evaluate("document.documentElement.scrollWidth") == 360


async def test_the_server_serves_its_files_reads_as_anon_and_forwards_to_the_daemon(stage: Stage) -> None:
    statuses = {
        "/": 200,
        "/static/page.css": 200,
        "/browser/refreshd.js": 200,
        "/browser/package.json": 404,
        "/static/..%2fserver.py": 404,
        "/rest/v1/refresh_status_v2?select=symbol&symbol=in.(AAPL)": 200,
        "/rest/v1/feature_flags": 401,
        "/rest/v1/no_such_table": 404,
        "/rest/v1/profiles?select=nonsense": 400,
        "/rest/v1/profiles?symbol=gt.A": 400,
    }
    async with ClientSession(stage.site.url) as client:
        for path, status in statuses.items():
            async with client.get(path) as answer:
                assert (path, answer.status) == (path, status)
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        async with client.post("/token") as answer:
            window = await answer.json()
        asked = {"symbol": "AAPL", "dataTypes": ["quote"]}
        headers = {"Authorization": f"Bearer {window['token']}"}
        path = "/functions/v1/track-subscription-v2"
        async with client.post(path, json=asked, headers=headers) as answer:
            assert (answer.status, (await answer.json())["viewer"]) == (200, "user")
        async with client.post(path, json=asked, headers={"Authorization": "Bearer nonsense"}) as answer:
            assert answer.status == 401
        await stage.daemon.stop()
        async with client.post(path, json=asked, headers=headers) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("table", "parameters"),
    [
        ('x"; drop table y', []),
        ("profiles", [("select", 'symbol") from x --')]),
        ("profiles", [("order", "symbol desc; --.desc")]),
        ("profiles", [("limit", "1; drop table x")]),
        ("profiles", [("symbol) or (true", "eq.A")]),
    ],
)
def test_what_is_no_name_never_becomes_part_of_a_statement(table: str, parameters: list[tuple[str, str]]) -> None:
    with pytest.raises(RowsError):
        build_query(table, parameters)


def test_nothing_of_the_page_is_from_elsewhere_or_becomes_markup() -> None:
    for path in [*STATIC.iterdir(), *MODULE.glob("*.js")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:src|href|import|from|url)\W{1,3}https?:", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|<style|style=", text), (
            path.name
        )
    assert len((STATIC / "supabase-stand-in.js").read_text(encoding="utf-8").splitlines()) <= 250
