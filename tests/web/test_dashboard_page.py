"""The dashboard in headless Chromium: what it shows is what the database says, and nothing unknown looks current."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise

import pytest
from playwright.async_api import Browser, Page

from daemon.contracts import Pair
from daemon.presence.status import ShardStatus
from daemon.store.database import Database
from tests.browser.tabs import chromium
from tests.rows import make_ready
from tests.web.dashboard_stage import Scheme, calm_presence, fill, finish_jobs, set_state, staged, subscribe

pytestmark = pytest.mark.direct

AAPL, MSFT = Pair("AAPL", "quote"), Pair("MSFT", "profile")
HOSTILE = "<img src=x onerror=document.title='pwned'><script>document.title='pwned'</script>\u202e\"'&"

_CONTRAST = """
() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((value) => value / 255)
      .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!hasText || !element.checkVisibility()) continue;
    const [light, dark] = [getComputedStyle(element).color, ground(element)].map(luminance).sort((a, b) => b - a);
    found.push([(light + 0.05) / (dark + 0.05), element.textContent.trim().slice(0, 40)]);
  }
  return found;
}
"""
_UNNAMED = """
() => [...document.querySelectorAll('section, table, select, [role=img]')].filter((element) => {
  if (element.tagName === 'TABLE') return !element.caption?.textContent.trim();
  if (element.tagName === 'SELECT') return element.labels.length === 0;
  const ids = element.getAttribute('aria-labelledby');
  if (ids) return !document.getElementById(ids)?.textContent.trim();
  return !element.getAttribute('aria-label');
}).map((element) => element.outerHTML.slice(0, 100))
"""
_SIDEWAYS = """
() => [document.documentElement.scrollWidth - document.documentElement.clientWidth,
       ...[...document.querySelectorAll('section *')].filter((element) => element.checkVisibility()
         && !element.closest('thead') && element.getBoundingClientRect().right > innerWidth)
         .map((element) => element.outerHTML.slice(0, 80))]
"""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


async def text_of(page: Page, selector: str) -> str:
    """Return what an element says, with plain spaces."""
    return (await page.inner_text(selector)).replace("\u00a0", " ").strip()


async def rows_of(page: Page, table: str) -> dict[str, list[str]]:
    """Return the cells of a table, by the first of each row."""
    rows = await page.eval_on_selector_all(
        f"#{table} tbody tr", "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return {row[0]: [cell.replace("\u00a0", " ") for cell in row[1:]] for row in rows}


async def until_text(page: Page, selector: str, text: str) -> None:
    """Wait until an element says this."""
    await page.wait_for_function(
        "([selector, text]) => document.querySelector(selector).textContent.replaceAll('\\u00a0', ' ').trim() === text",
        arg=[selector, text],
    )


async def two_pairs(owner: Database) -> None:
    """Have three look at a fresh pair and one at a stale one."""
    await make_ready(owner, calls=300)
    await subscribe(owner, AAPL, 3)
    await set_state(owner, AAPL, age=20, fresh_for=400, due_in=395)
    await subscribe(owner, MSFT, 1)
    await set_state(owner, MSFT, age=90_000, fresh_for=-3_600, due_in=-3_600)


async def test_where_a_type_is_on_its_way_from_the_old_system_is_told_with_its_broken_gates(
    owner: Database, database: Database, browser: Browser
) -> None:
    await two_pairs(owner)
    await owner.execute(
        "insert into migration_phases_v2 (data_type, phase, started_at, checks)"
        " values ('profile', 'finished', now(), '[]'),"
        """ ('quote', 'watched', now(), '[{"name": "symbols", "state": "broken", "text": ""}]')"""
    )

    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        await until_text(page, "#fresh", "75.00 %")
        types = await rows_of(page, "types-table")

    assert (types["quote"][0], types["profile"][0], types["ratios-ttm"][0]) == (
        "on, new, watched, broken: symbols",
        "on, finished",
        "on",
    )


async def test_the_numbers_are_those_of_the_database(owner: Database, database: Database, browser: Browser) -> None:
    await two_pairs(owner)
    await finish_jobs(owner, "quote", "changed", 7)
    await finish_jobs(owner, "quote", "failed", 2, error="quote of AAPL: timeout")
    await owner.execute("select queue_refreshes_v2(array['MSFT'], array['profile'], array[1])")
    await owner.execute(
        "update upstreams_v2 set price_calls = 1.5, breaker_state = 'open', breaker_reason = '5 in a row'"
    )
    await owner.execute(
        "insert into api_data_usage_v2 (upstream, holder, calls, bytes)"
        " select 'fmp', 'x', 1, 1000000 from generate_series(1, 30)"
    )
    await owner.execute("update feature_flags set enabled = false where flag_name = 'migrate_ratios_ttm_type'")

    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        await until_text(page, "#fresh", "75.00 %")
        shown = {
            name: await text_of(page, f"#{name}")
            for name in (
                "staleness",
                "staleness-note",
                "viewers",
                "pairs",
                "queue-ready",
                "queue-running",
                "queue-done",
            )
        }
        top, types = await rows_of(page, "top-table"), await rows_of(page, "types-table")
        outcomes, errors = await rows_of(page, "outcomes-table"), await text_of(page, "#errors")
        upstream, overdue = await text_of(page, "#upstreams"), await text_of(page, "#queue-overdue")
        state = await text_of(page, "#state")

    assert shown == {
        "staleness": "25.0 %",
        "staleness-note": "1 of 4 views",
        "viewers": "2,391",
        "pairs": "2",
        "queue-ready": "1",
        "queue-running": "0",
        "queue-done": "7",
    }
    assert list(top) == ["AAPL", "MSFT"]
    kind, viewers, age, ttl, due, why = top["AAPL"]
    assert (kind, viewers, ttl, why) == ("quote", "3", "1 min", "fresh")
    assert age.startswith("2")
    assert due.startswith("in 6 min")
    assert top["MSFT"] == ["profile", "1", "1 d 1 h", "1 d", "for 1 h", "stale, queued, held: breaker open"]
    assert (types["quote"][:5], types["ratios-ttm"][:2]) == (["on", "3", "1", "0", "100 %"], ["off", "0"])
    assert outcomes == {"quote": ["7", "0", "0", "0", "2"]}
    assert errors.endswith("ago: quote of AAPL: timeout")
    for words in (
        "Calls a minute: 30 of 300 (10 %)",
        "Bytes of 30 days: 30.00 MB of 20.00 GB",
        "open: 5 in a row",
        "1.5",
    ):
        assert words in upstream
    assert overdue == "MSFT profile, due for 1 h"
    assert state == "ok"
    assert stage.problems == []


async def test_a_change_is_shown_without_a_reload(owner: Database, database: Database, browser: Browser) -> None:
    await two_pairs(owner)
    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        await until_text(page, "#fresh", "75.00 %")

        await owner.execute(
            "update refresh_state_v2 set fresh_until = now() + interval '1 hour', last_success_at = now()"
        )
        await stage.look()

        await until_text(page, "#fresh", "100 %")
        await page.wait_for_function("() => document.querySelector('#top-table').textContent.includes('fresh, due')")


async def test_with_nobody_looking_it_says_so(owner: Database, database: Database, browser: Browser) -> None:
    await make_ready(owner)

    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        await until_text(page, "#fresh", "nobody looks")
        assert await text_of(page, "#staleness") == "\u2013"
        assert await text_of(page, "#top-table tbody") == "Nobody looks at anything."


async def test_a_disconnection_is_shown_and_heals(owner: Database, database: Database, browser: Browser) -> None:
    await two_pairs(owner)
    async with staged(database) as stage, AsyncExitStack() as server:
        await server.enter_async_context(stage.listening())
        async with stage.open(browser) as page:
            await until_text(page, "#state", "ok")

            await server.aclose()

            await until_text(page, "#state", "disconnected")
            numbers = ("fresh", "staleness", "viewers", "pairs", "queue-ready")
            unknown = [await text_of(page, f"#{name}") for name in numbers]
            past = await page.eval_on_selector_all("section", "(all) => all.every((each) => each.matches('.past'))")
            notes = await page.eval_on_selector_all(".past-note", "(all) => all.map((each) => each.textContent)")
            when, title = await text_of(page, "#when"), await page.title()
            await server.enter_async_context(stage.listening())
            await until_text(page, "#state", "ok")
            await until_text(page, "#fresh", "75.00 %")
            left = await page.locator("section.past").count()

    assert unknown == ["unknown"] * 5
    assert past
    assert all(note.startswith("Not current: this is how it was at ") for note in notes)
    assert when.startswith("last heard at ")
    assert title == "disconnected: refreshd"
    assert left == 0


async def test_a_connection_that_says_nothing_any_more_counts_as_lost(
    owner: Database, database: Database, browser: Browser
) -> None:
    await two_pairs(owner)
    async with staged(database, every_seconds=0.4) as stage, stage.listening(), stage.open(browser) as page:
        await until_text(page, "#state", "ok")

        await page.evaluate("() => { EventSource = class extends EventTarget { close() {} } }")
        stage.dashboard.feed.publish = lambda *_: None  # type: ignore[method-assign]

        await until_text(page, "#state", "disconnected")


async def test_what_the_database_said_long_ago_is_unknown(
    owner: Database, database: Database, browser: Browser
) -> None:
    await two_pairs(owner)
    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        await until_text(page, "#fresh", "75.00 %")

        stage.fails.add("top_pairs")
        stage.clock.ahead_seconds = 60

        await until_text(page, "#fresh", "unknown")
        await page.wait_for_selector("#top.past")
        past = await page.eval_on_selector_all("section.past", "(all) => all.map((each) => each.id)")
        note = await text_of(page, "#fresh-note")
        viewers = await text_of(page, "#viewers")
        stage.fails.clear()
        await stage.look()
        await until_text(page, "#fresh", "75.00 %")
        await page.wait_for_function("() => !document.querySelector('.past')")

    assert past == ["freshness", "top", "types", "upstream", "queue", "outcomes"]
    assert note == "was 75.00 %"
    assert viewers == "2,391"


async def test_a_daemon_that_cannot_tell_how_it_is_shows_nothing(
    owner: Database, database: Database, browser: Browser
) -> None:
    await two_pairs(owner)
    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        stage.fails.add("detail")

        await until_text(page, "#state", "unknown")
        assert await text_of(page, "#fresh") == "unknown"
        assert await text_of(page, "#queue-table tbody") == "unknown"


async def test_before_the_first_look_everything_is_unknown(
    owner: Database, database: Database, browser: Browser
) -> None:
    await two_pairs(owner)
    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        stage.vitals.latest = None

        await until_text(page, "#fresh", "unknown")
        assert await text_of(page, "#queue-table tbody") == "unknown"
        assert await text_of(page, "#upstreams") == "unknown"
        assert (await rows_of(page, "types-table"))["quote"][:3] == ["on", "\u2013", "\u2013"]
        assert await text_of(page, "#freshness .past-note") == "Not known yet."
        await until_text(page, "#state", "ok")
        assert stage.problems == []


async def test_viewers_are_unknown_while_presence_is_not_current(
    owner: Database, database: Database, browser: Browser
) -> None:
    await two_pairs(owner)
    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        await until_text(page, "#viewers", "2,391")

        stage.presence = replace(calm_presence(), shards={"viewers:0": ShardStatus(1, 0, 1_204)})

        await until_text(page, "#viewers", "unknown")
        assert await text_of(page, "#viewers-note") == "presence is not current"
        assert "0 of 1" in await text_of(page, "#shards-table")


async def test_what_others_have_written_is_text_and_nothing_else(
    owner: Database, database: Database, browser: Browser
) -> None:
    await make_ready(owner)
    await subscribe(owner, Pair(HOSTILE, "quote"), 9)
    await subscribe(owner, Pair("AAPL", HOSTILE), 8)
    await subscribe(owner, AAPL, 7)
    await set_state(owner, Pair(HOSTILE, "quote"), fresh_for=-100, due_in=-100)
    await finish_jobs(owner, "quote", "failed", 1, error=f"{HOSTILE}\n\ndata: {{}}\n\nevent: look")
    await owner.execute("update upstreams_v2 set breaker_state = 'open', breaker_reason = $1", HOSTILE)
    await owner.execute("select queue_refreshes_v2(array['AAPL'], array['quote'], array[1])")
    await owner.execute(
        "update api_call_queue_v2 set error_message = $1, not_before = now() + interval '1 minute'"
        " where symbol = 'AAPL' and status = 'pending'",
        HOSTILE,
    )

    async with staged(database) as stage:
        stage.presence = replace(calm_presence(), shards={HOSTILE: ShardStatus(1, 1, 1)})
        await stage.look()
        async with stage.listening(), stage.open(browser) as page:
            await page.wait_for_function("() => document.querySelector('#top-table').textContent.includes('retry 0')")
            rows = await rows_of(page, "top-table")
            planted = await page.locator("main img, main script").count()
            title = await page.title()
            texts = [
                await text_of(page, f"#{each}") for each in ("errors", "upstreams", "shards-table", "queue-overdue")
            ]

    visible = HOSTILE.replace("\u202e", "\\u202e")
    assert visible in rows
    assert planted == 0
    assert "pwned" not in title
    assert all(visible in text for text in texts)
    assert stage.problems == []


async def test_the_policy_of_the_page_forbids_what_it_does_not_need(
    owner: Database, database: Database, browser: Browser
) -> None:
    await two_pairs(owner)
    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        answer = await page.request.get(stage.url)
        policy = answer.headers["content-security-policy"]
        await page.evaluate(
            """() => {
                window.tried = [];
                document.addEventListener('securitypolicyviolation', (event) => tried.push(event.effectiveDirective));
                const script = document.createElement('script');
                try { script.text = 'window.ran = true'; document.body.append(script); } catch { tried.push('types'); }
                document.body.setAttribute('style', 'display: none');
            }"""
        )
        await page.wait_for_function("() => window.tried.length >= 3")
        ran, tried = await page.evaluate("() => [window.ran, window.tried]")

    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert ran is None
    assert {"types", "style-src-attr"} <= set(tried)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_can_be_read_by_everybody(
    owner: Database, database: Database, browser: Browser, scheme: Scheme
) -> None:
    await fill(owner)
    async with staged(database) as stage, stage.listening(), stage.open(browser, scheme=scheme) as page:
        contrasts = await page.evaluate(_CONTRAST)
        headings = await page.eval_on_selector_all("h1, h2, h3", "(all) => all.map((each) => Number(each.tagName[1]))")
        landmarks = [await page.get_by_role(role).count() for role in ("main", "banner")]
        regions = await page.get_by_role("region").count()
        live = await page.locator("[role=status], [role=alert], [aria-live]").count()
        unnamed = await page.evaluate(_UNNAMED)
        chart = await page.get_by_role("img", name="S over time").get_attribute("aria-describedby")
        words = await text_of(page, f"#{chart}")
        language = await page.get_attribute("html", "lang")
        stage.fails |= {"detail", "top_pairs"}
        await until_text(page, "#state", "unknown")
        contrasts += await page.evaluate(_CONTRAST)

    assert [each for each in contrasts if each[0] < 4.5] == []
    assert len(contrasts) > 300
    assert headings[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(headings))
    assert landmarks == [1, 1]
    assert regions == 8
    assert live == 1
    assert unnamed == []
    assert "last point" in words
    assert language == "en"


async def test_the_keyboard_reaches_everything_and_shows_where_it_is(
    owner: Database, database: Database, browser: Browser
) -> None:
    await two_pairs(owner)
    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        met = []
        for _ in range(3):
            await page.keyboard.press("Tab")
            met.append(
                await page.evaluate(
                    "() => [document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle,"
                    " document.activeElement.getBoundingClientRect().left >= 0]"
                )
            )

    assert met == [["A", "solid", True], ["SELECT", "solid", True], ["SUMMARY", "solid", True]]


async def test_a_row_is_changed_in_place(owner: Database, database: Database, browser: Browser) -> None:
    await two_pairs(owner)
    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        await page.evaluate("() => { window.kept = document.querySelector('#top-table tbody tr').cells[2] }")
        await subscribe(owner, Pair("AAPL", "profile"), 2)
        await page.wait_for_function("() => document.querySelectorAll('#top-table tbody tr').length === 3")

        assert await page.evaluate("() => window.kept.isConnected")


@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_nothing_reaches_beyond_the_screen(
    owner: Database, database: Database, browser: Browser, width: int
) -> None:
    await fill(owner)
    await finish_jobs(owner, "quote", "failed", 1, error="x" * 300)
    await subscribe(owner, Pair("ABCDEFGHIJKLMNOPQRST", "exchange-market-status"), 300)

    async with staged(database) as stage, stage.listening(), stage.open(browser, width=width) as page:
        sideways = await page.evaluate(_SIDEWAYS)

    assert sideways == [0]


async def test_a_type_can_be_compared_in_the_chart(owner: Database, database: Database, browser: Browser) -> None:
    await two_pairs(owner)
    async with staged(database) as stage, stage.listening(), stage.open(browser) as page:
        await page.select_option("#chart-type", "profile")
        await page.click("summary")
        head = await text_of(page, "#chart-table thead")
        drawn = await page.locator("#chart canvas").count()

    assert head.split() == ["Time", "S", "profile"]
    assert drawn == 1
    assert stage.problems == []


async def test_the_browser_keeps_the_token_and_not_the_address(
    owner: Database, database: Database, browser: Browser
) -> None:
    await two_pairs(owner)
    token = "a token that is long enough"
    async with staged(database, token=token) as stage, stage.listening():
        page = await browser.new_page()
        await page.goto(f"{stage.url}?token={token}")
        await until_text(page, "#state", "ok")
        cookies = await page.context.cookies()

        assert page.url == stage.url
        assert [(each["httpOnly"], each["sameSite"]) for each in cookies] == [(True, "Strict")]
        assert token not in cookies[0]["value"]
        assert await page.evaluate("() => document.cookie") == ""
