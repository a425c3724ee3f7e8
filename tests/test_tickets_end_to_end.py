"""A daemon that asks for tickets: who has one is who it says, whoever the page claims to be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aiohttp import ClientSession

from daemon.tickets import Tickets
from devstack.stack import Stack
from tests.test_end_to_end import until_value, viewer

KEY = "a-key-of-more-than-thirty-two-characters"
WHO = "select array_agg(split_part(user_id, ':', 1) || ' ' || symbol order by symbol) from active_subscriptions_v2"


def ticket(key: str, subject: str) -> str:
    expires_at = datetime.now(UTC) + timedelta(minutes=5)
    return Tickets([key], grace_seconds=0).issue(subject, expires_at)


async def test_only_a_ticket_makes_a_user() -> None:
    settings = {"REFRESHD_VIEWER_IDENTITY": "ticket", "REFRESHD_TICKET_KEY": KEY}
    async with Stack(latency_seconds=0.02, symbols=["AAPL", "MSFT", "NVDA"]) as stack:
        daemon = await stack.start_daemon(settings)
        port = (await daemon.until_event("http_listening"))["port"]
        async with viewer(stack) as known, viewer(stack) as unknown, viewer(stack) as forger:
            await known.track({"userId": "eve", "ticket": ticket(KEY, "ann"), "views": {"AAPL": ["quote"]}})
            await unknown.track({"userId": "bob", "views": {"MSFT": ["quote"]}})
            await forger.track({"ticket": ticket(KEY.upper(), "ann"), "views": {"NVDA": ["quote"]}})

            await until_value(stack, WHO, ["user AAPL", "conn MSFT", "conn NVDA"])
            users = "select user_id from active_subscriptions_v2 where symbol = 'AAPL'"
            assert await stack.owner.fetchval(users) == "user:ann"
            async with ClientSession() as client, client.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert 'refreshd_presence_drops_total{reason="ticket_forged"} 1.0' in await answer.text()
        assert KEY not in str(list(daemon.lines))
