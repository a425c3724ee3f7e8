"""How quickly pages are served: track-subscription at a steady rate, and from a click in a browser to the value.

Everything runs on the embedded stack, with simulated viewers whom the daemon serves meanwhile. Requests come at their
times whether earlier ones have been answered or not; a click is timed in the page itself, with its own clock.
"""

from __future__ import annotations

import asyncio
import time
from statistics import quantiles
from typing import Any

import click
import jwt
from aiohttp import ClientSession, TCPConnector
from playwright.async_api import Page, async_playwright

from bench.results import Goal, Result
from devstack.daemon_process import DaemonProcess
from devstack.postgres_cluster import free_ports
from devstack.site.server import DemoSite, daemon_settings
from devstack.stack import LOBBY, Stack
from devstack.viewers import Crowd, by_popularity

PATH = "/functions/v1/track-subscription-v2"
UPSTREAM_SECONDS = 0.1
VIEWERS = 25
USERS = 100
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
GAP_SECONDS = 0.4

TIME_CLICK = """
symbol => new Promise((resolve, reject) => {
    document.querySelector('#add input').value = symbol
    const began = performance.now()
    document.querySelector('#add').requestSubmit()
    const limit = setTimeout(() => reject(new Error(symbol + ' never came')), 15000)
    const look = () => {
        const price = document.querySelector(`article[data-symbol="${symbol}"] .price`)
        if (price && /\\d/.test(price.textContent)) { clearTimeout(limit); resolve(performance.now() - began) }
        else requestAnimationFrame(look)
    }
    look()
})
"""


@click.command()
@click.option("--quick", is_flag=True, help="Seconds, and nothing is written.")
@click.option("--per-second", default=200, show_default=True, help="Requests a second.")
@click.option("--seconds", default=30.0, show_default=True, help="How long requests are made.")
@click.option("--clicks", default=20, show_default=True)
def main(*, quick: bool, per_second: int, seconds: float, clicks: int) -> None:
    """Measure track-subscription, and a click to the value."""
    seconds, clicks = (5.0, 8) if quick else (seconds, clicks)
    asyncio.run(_bench(per_second, seconds, clicks)).publish(write=not quick)


async def _bench(per_second: int, seconds: float, clicks: int) -> Result:
    stop = asyncio.Event()
    async with Stack(calls_per_minute=3_000, latency_seconds=UPSTREAM_SECONDS, changes=True) as stack:
        symbols = by_popularity(stack.upstream.symbols())
        listen = f"127.0.0.1:{next(free_ports())}"
        limits = dict.fromkeys(_LIMITS, "1000000")
        daemon = await stack.start_daemon({**daemon_settings(stack), "REFRESHD_HTTP_LISTEN": listen, **limits})
        await daemon.until_event("realtime_connected")
        crowd = Crowd(stack.realtime_url, LOBBY, stack.viewer_token, symbols[:60], size=VIEWERS)
        async with asyncio.TaskGroup() as group:
            group.create_task(crowd.run(stop))
            await asyncio.sleep(5)
            answers = await _track(stack, f"http://{listen}", symbols[:60], per_second, seconds)
            shown = await _click(stack, f"http://{listen}", symbols[-clicks:])
            stop.set()
        return _result(answers, shown, daemon, per_second)


_LIMITS = (
    "REFRESHD_TRACK_PER_USER_PER_MINUTE",
    "REFRESHD_TRACK_PER_ADDRESS_PER_MINUTE",
    "REFRESHD_TRACK_PAIRS_PER_MINUTE",
)


async def _track(stack: Stack, url: str, symbols: list[str], per_second: int, seconds: float) -> list[float]:
    """Return how long each answer took, in milliseconds, from the moment at which its request was due."""
    tokens = [_token(stack, number) for number in range(USERS)]
    took: list[float] = []

    async def ask(number: int, due_at: float) -> None:
        await asyncio.sleep(max(due_at - time.perf_counter(), 0))
        body: dict[str, Any] = {"symbol": symbols[number % len(symbols)], "dataTypes": ["quote", "profile"]}
        headers = {"Authorization": f"Bearer {tokens[number % USERS]}"}
        async with client.post(f"{url}{PATH}", json=body, headers=headers) as answer:
            await answer.read()
            answer.raise_for_status()
        took.append((time.perf_counter() - due_at) * 1_000)

    async with ClientSession(connector=TCPConnector(limit=0)) as client, asyncio.TaskGroup() as group:
        began_at = time.perf_counter() + 0.5
        for number in range(int(per_second * seconds)):
            group.create_task(ask(number, began_at + number / per_second))
    return took


def _token(stack: Stack, number: int) -> str:
    claims = {
        "iss": daemon_settings(stack)["REFRESHD_JWT_ISSUER"],
        "aud": "authenticated",
        "role": "authenticated",
        "sub": f"user-{number}",
        "exp": int(time.time()) + 3_600,
    }
    return jwt.encode(claims, stack.jwt_secret, algorithm="HS256")


async def _click(stack: Stack, url: str, symbols: list[str]) -> list[float]:
    """Return how long it took from a click to the value of a symbol that nobody has asked for, in milliseconds."""
    async with DemoSite(stack, url) as site, async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page: Page = await browser.new_page()
        await page.goto(f"{site.url}/?list=AAPL")
        await page.wait_for_selector("#add:not([inert])")
        await asyncio.sleep(2)
        shown = []
        for symbol in symbols:
            shown.append(float(await page.evaluate(TIME_CLICK, symbol)))
            await asyncio.sleep(GAP_SECONDS)
        await browser.close()
    return shown


def _result(answers: list[float], shown: list[float], daemon: DaemonProcess, per_second: int) -> Result:
    answered, seen = (quantiles(values, n=100, method="inclusive") for values in (answers, shown))
    figures = {
        "requests": float(len(answers)),
        "track p50 ms": answered[49],
        "track p99 ms": answered[98],
        "clicks": float(len(shown)),
        "click to value p50 ms": seen[49],
        "click to value p99 ms": seen[98],
        "of which the upstream ms": UPSTREAM_SECONDS * 1_000,
        "errors in the daemon's log": float(len(daemon.errors)),
    }
    goals = (
        Goal(f"track at {per_second} a second: p99 ms", "< 50", answered[98], answered[98] < 50),
        Goal("click to value: p50 ms", "< 300", seen[49], seen[49] < 300),
    )
    return Result("web", figures, {"click to value / upstream": seen[49] / (UPSTREAM_SECONDS * 1_000)}, goals)


if __name__ == "__main__":
    main()
