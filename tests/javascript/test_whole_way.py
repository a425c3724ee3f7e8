"""The whole way in a browser: a page shows a symbol, the daemon fetches it, and the fresh row comes to the page."""

from __future__ import annotations

from devstack.stack import Stack
from tests.javascript.pages import in_a_browser


async def test_what_a_page_shows_becomes_fresh_on_that_page() -> None:
    topic = "symbol:AAPL"
    followed = {"event": "*", "schema": "public", "table": "live_quote_indicators", "filter": "symbol=eq.AAPL"}
    async with Stack(latency_seconds=0.02, symbols=["AAPL", "MSFT"], changes=True) as stack, in_a_browser() as browser:
        daemon = await stack.start_daemon({"REFRESHD_TOPIC_LOOK_SECONDS": "0.2"})
        await daemon.until_event("started")
        token = stack.viewer_token()
        options = {"url": stack.realtime_url.replace("http", "ws"), "key": token, "token": token, "vsn": "2.0.0"}
        async with browser.open(options) as page:
            await page.do("follow", topic, followed)
            assert (await page.next("system"))["message"]["message"] == "Subscribed to PostgreSQL"

            await stack.owner.fetchval("select name_symbol_topics_v2('{AAPL}')")
            await page.do("show", topic, {"symbol": "AAPL", "dataTypes": ["quote"], "userId": "ada"})

            change = (await page.next("changed"))["change"]
            assert change["new"]["symbol"] == "AAPL"
            assert change["new"]["price"] > 0
