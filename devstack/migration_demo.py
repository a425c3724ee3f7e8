"""``make demo-migration``: the journey from an old system to refreshd in fast motion, told as a story."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import click
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table

from daemon.log import LIBRARIES
from daemon.migration.phases import ORDER
from daemon.store.baselines import measure
from daemon.store.owner import owner_connection
from devstack.commands import run_command, shortened
from devstack.daemon_process import DaemonProcess, LogLine
from devstack.old_system.cron import INTERFACE, PG_CRON, CronStandIn, find_pg_cron
from devstack.old_system.server import OldSystem
from devstack.stack import LOBBY, Stack
from devstack.upstream.faults import Fault, FaultKind
from devstack.viewers import Crowd, by_popularity

SYMBOLS = 60
VIEWERS = 12
SECONDS_VERSION = (1, 5)
"""pg_cron runs jobs every few seconds since this version; an older one would take a minute for every step."""
SCHEDULES = {**dict.fromkeys(ORDER, "10 seconds"), "quote": "5 seconds", "exchange-market-status": "15 seconds"}
SYMBOLS_PER_RUN = {**dict.fromkeys(ORDER, 4), "quote": 20, "financial-statements": 1}
SETTINGS = {
    "REFRESHD_MIGRATION_SAMPLE_SECONDS": "1",
    "REFRESHD_MIGRATION_HOLD_SECONDS": "1",
    "REFRESHD_MIGRATION_WATCH_HOURS": "0.003",
    "REFRESHD_SWEEP_INTERVAL_SECONDS": "5",
}
"""A minute between looks is a second here, and the day of a watch 11 seconds."""

INTRODUCTION = """# The journey in fast motion

Written by `make demo-migration` from a running system: the embedded stack with an old system of eleven jobs, twelve
viewers, and the daemon as its own process. The output of every command and the lines of the log are as they came. A day
of watching takes seconds here, and jobs that run every few minutes in earnest run every few seconds. What to do in
earnest, and why, says [migration.md](migration.md).
"""

ALONE_SECONDS = 30.0
WATCH_SECONDS = 16.0
BREAK_SECONDS = 60.0
WIDTH = 100


@dataclass
class Era:
    """What was measured while one of the two systems worked."""

    name: str
    seconds: float = 0.0
    calls: int = 0
    bytes: int = 0
    shares: list[float] = field(default_factory=list)
    """Share of viewed pairs that were fresh, look by look."""

    @property
    def fresh(self) -> float:
        """The mean of them."""
        return sum(self.shares) / len(self.shares) if self.shares else 0.0


class Story:
    """Tells what happens, as it happens, and keeps it for a page.

    Args:
        stack: What it happens on.
        console: Where it is told.
    """

    def __init__(self, stack: Stack, console: Console) -> None:
        self._stack = stack
        self._console = console
        self.pages: list[str] = []

    @property
    def settings(self) -> Mapping[str, str]:
        """What commands and daemon are told."""
        return self._stack.environment(**SETTINGS)

    def chapter(self, heading: str, text: str) -> None:
        """Begin a chapter."""
        self._console.print(Rule(f"[bold]{escape(heading)}[/]", align="left"))
        self._console.print(escape(text))
        self.pages.append(f"\n## {heading}\n\n{text}\n")

    async def run(self, command: str, *, most_lines: int = 30, only: str = "") -> None:
        """Run a command and show what it said, or the lines of it that say something."""
        code, output = await run_command(command, self.settings)
        output = "\n".join(line for line in output.splitlines() if only in line) + "\n"
        self._show(command, output + ("" if code == 0 else f"(exit code {code})"), most_lines)

    def log(self, line: LogLine) -> None:
        """Show a line of the daemon's log, field by field."""
        fields = "\n".join(f"    {name}={value}" for name, value in line.items() if name not in {"time", "level"})
        priority = " -p warning" if line["level"] == "warning" else ""
        self._show(f"journalctl -u refreshd{priority}", f"{line['level']}:\n{fields}", 12)

    def _show(self, command: str, output: str, most_lines: int) -> None:
        text = shortened(output, most_lines)
        self._console.print(f"[bold cyan]$ {escape(command)}[/]")
        self._console.print(escape(text), highlight=False, soft_wrap=True)
        self._console.print()
        self.pages.append(f"\n```console\n$ {command}\n{text}\n```\n")


@click.command()
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Also write the story to this file.")
def main(write: Path | None) -> None:
    """Move eleven data types from an old system to refreshd, on this machine, in about three minutes."""
    for library in LIBRARIES:  # the viewers' clients: the daemon has its own process and log
        logging.getLogger(library).setLevel(logging.CRITICAL)
    console = Console(width=None if Console().is_terminal else WIDTH)
    pages, errors = asyncio.run(_demo(console))
    if write is not None:
        write.write_text(INTRODUCTION + "".join(pages))
    for line in errors:
        console.print(f"[red]unexpected: {escape(str(line))}[/]")
    sys.exit(1 if errors else 0)


async def _demo(console: Console) -> tuple[list[str], list[LogLine]]:
    console.print("starting PostgreSQL, Realtime, the upstream and the old system ...")
    stop = asyncio.Event()
    cron = _modern_pg_cron()
    settings = {} if cron is None else PG_CRON
    async with Stack(moved=False, scheduled=True, latency_seconds=0.05, binaries=cron, settings=settings) as stack:
        await stack.owner.execute("create extension pg_cron" if cron else INTERFACE.read_text())
        symbols = by_popularity(stack.upstream.symbols())[:SYMBOLS]
        await stack.owner.execute("delete from supported_symbols where symbol <> all ($1)", symbols)
        old = OldSystem(
            stack.owner_url, stack.upstream.url, stack.upstream_key, symbols_per_run=SYMBOLS_PER_RUN, run_seconds=0.3
        )
        await old.install(SCHEDULES)
        daemon = await stack.start_daemon(SETTINGS)
        crowd = Crowd(stack.realtime_url, LOBBY, stack.viewer_token, symbols, size=VIEWERS)
        story = Story(stack, console)
        async with asyncio.TaskGroup() as group:
            group.create_task(old.run(stop))
            group.create_task(crowd.run(stop))
            if cron is None:
                group.create_task(CronStandIn(stack.owner_url).run(stop))
            await old.until_ready()
            await daemon.until_event("realtime_connected")
            await _tell(story, stack, daemon, console)
            is_final = await stack.owner.fetchval("select suffix = '' from refreshd_names")
            stop.set()
        code = await daemon.stop()
    unexpected = [line for line in daemon.errors if line["event"] != "fetch_failed"]
    if not is_final:
        unexpected.append({"event": "the migration did not come to its end"})
    return story.pages, unexpected + ([] if code == 0 else [{"event": "daemon_exit", "code": code}])


def _modern_pg_cron() -> Path | None:
    """Return the programs of a PostgreSQL with a pg_cron that counts in seconds; None where there is none."""
    folder = find_pg_cron()
    if folder is None:
        return None
    for path in Path("/usr/share/postgresql").glob("*/extension/pg_cron.control"):
        versions = [line.split("'")[1] for line in path.read_text().splitlines() if line.startswith("default_version")]
        if versions and tuple(int(part) for part in versions[0].split("-")[0].split(".")) >= SECONDS_VERSION:
            return folder
    return None


async def _tell(story: Story, stack: Stack, daemon: DaemonProcess, console: Console) -> None:
    story.chapter(
        "The old system alone",
        "Eleven jobs of pg_cron ask functions at the edge to refresh what is old, whoever looks at it. People look at"
        " pages meanwhile, and refreshd runs beside it: it listens and fetches nothing, since no type has its flag on.",
    )
    before = Era("old system")
    await _watch(stack, before, ALONE_SECONDS)
    story.chapter("Before anything moves: a baseline", "What it is like now, to compare with later.")
    await story.run(f"refreshd baseline record before --calls-per-day {before.calls * 86_400 // int(before.seconds)}")
    await story.run("refreshd migration status")
    await _first_type(story)
    await _regression(story, stack, daemon)
    await _the_rest(story)
    await _end(story, daemon)
    after = Era("refreshd")
    await _watch(stack, after, ALONE_SECONDS)
    story.chapter("What has become of it", "The baseline, and how it is now.")
    await story.run("refreshd baseline compare before", most_lines=20)
    _report(console, before, after, story)


async def _first_type(story: Story) -> None:
    story.chapter(
        "The first type moves", "A preflight, then one transaction: old job paused, state taken over, flag on."
    )
    await story.run("refreshd migration start quote --why 'the first one'")
    await asyncio.sleep(WATCH_SECONDS)
    await story.run("refreshd migration status quote")


async def _regression(story: Story, stack: Stack, daemon: DaemonProcess) -> None:
    story.chapter(
        "One that does worse than before",
        "Profiles move, and from that moment the upstream answers every request for one with 402: not in this plan. The"
        " daemon watches every type that has moved; a gate breaks, and the log says what to do.",
    )
    stack.upstream.faults.add(Fault(FaultKind.PLAN, endpoint="profile"))
    await story.run("refreshd migration start profile", most_lines=14)
    seen = len(daemon.lines)
    with suppress(TimeoutError):
        await daemon.until(
            lambda line: line["event"] == "migration_gate_broken" and line["data_type"] == "profile",
            BREAK_SECONDS,
            after=max(0, seen - 50),
        )
    for line in list(daemon.lines)[max(0, seen - 50) :]:
        if line["event"] == "migration_gate_broken":
            story.log(line)
            break
    await story.run("refreshd migration rollback profile --why 'profiles fail, first back, then look'")
    stack.upstream.faults.clear()
    story.chapter(
        "The upstream is well again", "So profiles move a second time; what the old system fetched meanwhile is kept."
    )
    await story.run("refreshd migration start profile --why 'the upstream is well again'", most_lines=14)


async def _the_rest(story: Story) -> None:
    story.chapter(
        "The other types follow",
        "One after the other, in the plan's order. What has nothing to judge by when its watch is over is not finished"
        " unless somebody says why.",
    )
    for data_type in ORDER[2:]:
        await story.run(f"refreshd migration start {data_type}", only="has moved over")
    await asyncio.sleep(WATCH_SECONDS + 4)
    await story.run("refreshd migration status", most_lines=13)
    await story.run("refreshd migration finish --all")
    await story.run(
        "refreshd migration finish available-exchanges exchange-market-status --force"
        " --why 'nothing of them fell due in a minute'"
    )
    await story.run("refreshd migration journal --lines 8")


async def _end(story: Story, daemon: DaemonProcess) -> None:
    story.chapter(
        "The end of the suffix", "Every name loses its `_v2`, in one transaction, under the daemon that runs on."
    )
    await story.run("refreshd migration finalize --dry-run", most_lines=6)
    await story.run("refreshd migration finalize --yes --why 'all types are well'")
    story.log(await daemon.until_event("names_changed", 30))
    await story.run("refreshd status")


async def _watch(stack: Stack, era: Era, seconds: float) -> None:
    """Let time pass, and measure."""
    upstream, loop = stack.upstream, asyncio.get_running_loop()
    calls, received, began = upstream.calls, upstream.bytes_sent, loop.time()
    async with owner_connection(stack.owner_url) as owner:
        while loop.time() < began + seconds:
            await asyncio.sleep(2.0)
            types = (await measure(owner)).types
            if viewed := sum(each.viewed for each in types):
                era.shares.append(sum(each.viewed_fresh for each in types) / viewed)
    era.seconds, era.calls, era.bytes = loop.time() - began, upstream.calls - calls, upstream.bytes_sent - received


def _report(console: Console, before: Era, after: Era, story: Story) -> None:
    table = Table(title="old against new", title_justify="left", box=None)
    for heading in ("", before.name, after.name):
        table.add_column(heading, justify="left" if not heading else "right")
    rows = [
        ("viewed pairs that are fresh", f"{before.fresh:.1%}", f"{after.fresh:.1%}"),
        ("calls a minute", *(f"{era.calls / era.seconds * 60:,.0f}" for era in (before, after))),
        ("KB a minute", *(f"{era.bytes / era.seconds * 60 / 1000:,.0f}" for era in (before, after))),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    story.pages.append(f"\n| | {before.name} | {after.name} |\n|---|---:|---:|\n{lines}\n")


if __name__ == "__main__":
    with suppress(asyncpg.PostgresError):
        main()
