"""What the tests of the embedded PostgreSQL share: queries, processes that run a server, and looking for leftovers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from devstack.postgres import EmbeddedPostgres

REPOSITORY = Path(__file__).parents[2]
DEADLINE_SECONDS = 30.0

SERVE = """
    import json, os, signal
    from devstack.postgres import EmbeddedPostgres

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a script has started in the background
    with EmbeddedPostgres.start(durable=False) as server:
        report = {"folder": str(server.folder), "url": server.url(), "keeper_pid": server._keeper.pid}
        BEFORE_REPORTING
        print(json.dumps(report), flush=True)
        signal.pause()
"""
"""A program that starts a server, reports it, and waits for its own end."""

KEEP_BUSY = """
    import asyncio, sys, asyncpg

    async def main():
        connection = await asyncpg.connect(sys.argv[1])
        print(connection.get_server_pid(), flush=True)
        await connection.execute("do 'begin loop end loop; end'")

    asyncio.run(main())
"""
"""A program that names the server process of its connection, and keeps it busy for ever."""


def lives(process: psutil.Process) -> bool:
    """Tell whether a process has not ended; a zombie has."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Traces:
    """What there is to find of a server while it runs, and nowhere afterwards."""

    folder: Path
    processes: list[psutil.Process]

    @classmethod
    def of(cls, keeper_pid: int, folder: Path) -> Traces:
        """Return the traces of a running server."""
        keeper = psutil.Process(keeper_pid)
        server_processes = keeper.children(recursive=True)
        assert len(server_processes) >= 5, "a server has at least its postmaster and four helpers"
        assert folder.is_dir()
        return cls(folder, [keeper, *server_processes])

    def are_gone(self) -> bool:
        """Tell whether neither a process nor the folder is left."""
        return not self.folder.exists() and not any(map(lives, self.processes))


@dataclass(frozen=True)
class ServingProcess:
    """A process that runs `SERVE`, and what it reported."""

    process: subprocess.Popen[str]
    keeper: psutil.Process
    url: str
    traces: Traces


@contextmanager
def serving_process(
    before_reporting: str = "pass", python: str = sys.executable, **arguments: Any
) -> Iterator[ServingProcess]:
    """Run `SERVE`, with one statement of the test's choice in it, in a process and session of its own."""
    code = textwrap.dedent(SERVE).replace("BEFORE_REPORTING", before_reporting)
    arguments.setdefault("cwd", REPOSITORY)
    with subprocess.Popen(
        [python, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True, **arguments
    ) as process:
        assert process.stdout
        try:
            report = json.loads(process.stdout.readline())
            traces = Traces.of(report["keeper_pid"], Path(report["folder"]))
            yield ServingProcess(process, traces.processes[0], report["url"], traces)
        finally:
            process.kill()


@contextmanager
def busy_backend(server: EmbeddedPostgres) -> Iterator[psutil.Process]:
    """Keep a server process so busy that it does not see the death of its postmaster."""
    client = [sys.executable, "-c", textwrap.dedent(KEEP_BUSY), server.url()]
    with subprocess.Popen(client, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        try:
            pid = int(process.stdout.readline())
            state = f"select state from pg_stat_activity where pid = {pid} and query like 'do %'"
            wait_until(lambda: value_of(server.url(), state) == "active")
            yield psutil.Process(pid)
        finally:
            process.kill()


@contextmanager
def open_folder() -> Iterator[Path]:
    """Yield a temporary folder that every user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="refreshd-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def value_of(url: str, query: str) -> Any:
    """Return the one value that a query yields."""

    async def fetch() -> Any:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close(timeout=10)

    return asyncio.run(fetch())


def wait_until(condition: Callable[[], object]) -> None:
    """Return as soon as a condition holds; fail when it never does."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
