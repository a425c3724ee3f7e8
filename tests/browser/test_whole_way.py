"""The whole way: a card watches a symbol, the daemon hears of it and fetches it, and the card is told."""

from __future__ import annotations

from devstack.stack import Stack
from tests.browser.data_api import DataApi
from tests.browser.tabs import Tabs, chromium, find_client
from tests.test_end_to_end import until_value


async def test_what_a_card_watches_is_fetched_and_told_while_it_is_watched() -> None:
    client = find_client()
    async with (
        Stack(latency_seconds=0.02, symbols=["AAPL", "MSFT"], changes=True) as stack,
        DataApi.serving(stack.owner_url, client) as (_, url),
        chromium() as browser,
    ):
        daemon = await stack.start_daemon({"REFRESHD_LEAVE_GRACE_SECONDS": "0.1"})
        await daemon.until_event("started")
        async with Tabs(browser, url, stack.realtime.url, stack.viewer_token()).open(userId="ada") as tab:
            await tab.do("watch", "card", "AAPL", ["quote"])

            value = await tab.next("value", card="card", outcome="changed", isFresh=True)
            assert value["row"]["symbol"] == "AAPL"
            assert value["row"]["price"] > 0
            viewers = "select array_agg(user_id || ' ' || symbol) from active_subscriptions_v2"
            await until_value(stack, viewers, ["user:ada AAPL"])
