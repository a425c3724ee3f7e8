"""Daemons and an upstream as processes of their own, and what processes have spent."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.queue_server import Place
from devstack.daemon_process import INHERITED, REPOSITORY

CALLS_PER_MINUTE = 1_000_000
"""The most that the settings take: 16,667 calls a second, which nothing here comes near to."""

API_KEY = "bench"
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What processes have used up to a moment."""

    daemon_cpu_seconds: float
    """Of all daemons together."""
    postgres_cpu_seconds: float


def environment(place: Place, upstream_url: str, number: int) -> dict[str, str]:
    """Return the settings of one of the daemons: the defaults, budgets that do not bind, and no presence."""
    return {
        "DATABASE_URL": place.daemon_url,
        "SUPABASE_URL": "http://127.0.0.1:9",  # never asked: presence is off
        "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_bench_bench_bench",
        "FMP_API_KEY": API_KEY,
        "REFRESHD_CALLS_PER_MINUTE": str(CALLS_PER_MINUTE),
        "REFRESHD_BYTES_PER_30_DAYS": "1000PB",
        "REFRESHD_UPSTREAM_URL": upstream_url,
        "REFRESHD_ALLOW_LOOPBACK_UPSTREAM": "true",
        "REFRESHD_INSTANCE": f"bench-{number}",
        "REFRESHD_HTTP_LISTEN": "127.0.0.1:0",
        "REFRESHD_LOG_LEVEL": "info",  # the default: a line for every job
    }


@asynccontextmanager
async def running_upstream(*module_and_arguments: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    """Run an upstream that prints its URL; give the URL and its process."""
    process = await asyncio.create_subprocess_exec(
        *_dying_with_us(*module_and_arguments), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        async with asyncio.timeout(START_SECONDS):
            url = (await process.stdout.readline()).decode().strip()
        yield url, psutil.Process(process.pid)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running ``refreshd run`` that writes its log into a file, as fast as it likes."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    async def until_started(self) -> None:
        """Wait for the line that says so.

        Raises:
            TimeoutError: When it does not come.
        """
        async with asyncio.timeout(START_SECONDS):
            while b'"event":"started"' not in self.log.read_bytes():  # noqa: ASYNC110 - a small file
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        with suppress(ProcessLookupError):
            self.process.terminate()
        await self.process.wait()

    def errors(self) -> list[str]:
        """Return what it logged at error and above, and whatever was no log line at all."""
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            return [line for line in lines if not line.startswith(("<4>", "<5>", "<6>", "<7>"))]


@asynccontextmanager
async def running_daemons(environments: Iterable[Mapping[str, str]]) -> AsyncIterator[list[Daemon]]:
    """Run daemons side by side.

    Raises:
        AssertionError: When one of them logged an error.
    """
    daemons: list[Daemon] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number, settings in enumerate(environments):
                daemons.append(await _start(settings, Path(folder) / f"{number}.log"))
            for daemon in daemons:
                await daemon.until_started()
            yield daemons
        finally:
            await asyncio.gather(*(daemon.stop() for daemon in daemons))
            errors = [line for daemon in daemons for line in daemon.errors()]
            assert not errors, f"the daemon logged errors: {errors[:3]}"


async def _start(settings: Mapping[str, str], log: Path) -> Daemon:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *_dying_with_us("daemon", "run"),
            env={**inherited, **settings},
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    return Daemon(process, log)


def _dying_with_us(*module_and_arguments: str) -> tuple[str, ...]:
    python = sys.executable
    return (python, "-m", "devstack.die_with_parent", str(os.getpid()), python, "-m", *module_and_arguments)


def spent(daemons: Iterable[Daemon], postmaster_pid: int, feeder_pid: int) -> Spent:
    """Return what daemons and PostgreSQL have used until now; PostgreSQL without the backend that feeds."""
    return Spent(
        sum(cpu_seconds(psutil.Process(daemon.pid)) for daemon in daemons),
        _family_cpu_seconds(postmaster_pid) - cpu_seconds(psutil.Process(feeder_pid)),
    )


def cpu_seconds(process: psutil.Process) -> float:
    """Return what one process has used."""
    times = process.cpu_times()
    return times.user + times.system


def _family_cpu_seconds(pid: int) -> float:
    """Return what a process and its children have used, the ended ones included."""
    family = psutil.Process(pid)
    times = family.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in family.children():
        with suppress(psutil.NoSuchProcess):
            total += cpu_seconds(child)
    return total


def memory_mb(pid: int) -> tuple[float, float]:
    """Return the resident memory of a process now, and the most that it ever was."""
    peak_kb = next(
        int(line.split()[1])
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        if line.startswith("VmHWM")
    )
    return psutil.Process(pid).memory_info().rss / 1e6, peak_kb * 1024 / 1e6
