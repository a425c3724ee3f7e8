"""Which upstream the daemons are measured against: what an answer costs the simulated one, and the plain one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import aiohttp
import psutil

from bench.throughput_processes import API_KEY, cpu_seconds, running_upstream
from devstack.upstream.listings import listings

BATCH = 100
PLAIN = "plain upstream"
SIMULATED = "simulated upstream"
_PROGRAMS: Mapping[str, Sequence[str]] = {
    PLAIN: ("bench.throughput_upstream",),
    SIMULATED: (
        "devstack.upstream", "--api-key", API_KEY, "--calls-per-minute", "1000000000", "--latency-seconds", "0",
    ),
}  # fmt: skip


async def measure_upstreams(calls: int) -> dict[str, float]:
    """Ask each upstream for quotes by the hundred and for profiles, one by one; return milliseconds by name."""
    symbols = list(listings())[:BATCH]
    asked = {
        f"{len(symbols)} quotes": ("batch-quote", [{"symbols": ",".join(symbols)}]),
        "a profile": ("profile", [{"symbol": symbol} for symbol in symbols]),
    }
    served: dict[str, float] = {}
    for name, program in _PROGRAMS.items():
        async with running_upstream(*program) as (url, process), aiohttp.ClientSession(headers=_HEADERS) as session:
            for what, (endpoint, params) in asked.items():
                taken, cpu = await _serve(session, f"{url}/{endpoint}", params, calls, process)
                served |= {f"{name}, {what}: ms": taken, f"{name}, {what}: CPU ms": cpu}
    return served


_HEADERS = {"apikey": API_KEY, "Accept-Encoding": "gzip"}


async def _serve(
    session: aiohttp.ClientSession,
    url: str,
    params: Sequence[Mapping[str, str]],
    calls: int,
    process: psutil.Process,
) -> tuple[float, float]:
    for each in params:  # the first answer about a symbol is computed from its history
        await _ask(session, url, each)
    cpu, started_at = cpu_seconds(process), time.perf_counter()
    for number in range(calls):
        await _ask(session, url, params[number % len(params)])
    seconds, cpu = time.perf_counter() - started_at, cpu_seconds(process) - cpu
    return 1000 * seconds / calls, 1000 * cpu / calls


async def _ask(session: aiohttp.ClientSession, url: str, params: Mapping[str, str]) -> None:
    async with session.get(url, params=params) as response:
        assert response.status == 200, f"status {response.status}"
        await response.read()
