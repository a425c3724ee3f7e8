"""``make demo``: the whole system on this machine, with simulated viewers, and a live table of what they see."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from daemon.contracts import StoreUnavailableError
from daemon.log import LIBRARIES
from devstack.daemon_process import DaemonProcess
from devstack.demo_view import percentage, render
from devstack.observer import Observer, build_report, read_commits
from devstack.plug_ins import EXAMPLE, EXAMPLE_FLAG, install
from devstack.postgres_cluster import free_ports
from devstack.site.server import DemoSite, daemon_settings
from devstack.stack import LOBBY, Stack
from devstack.viewers import ON_A_PAGE, Crowd, by_popularity

CALLS_PER_MINUTE = 300
BYTES_PER_30_DAYS = 20_000_000_000
FRAME_SECONDS = 0.5
START_SECONDS = 20.0
LOOK_SECONDS = 0.5
PLUG_IN_SHARE = 0.15
"""How likely it is that a page shows the data type of the plug-in."""


@click.command()
@click.option("--seconds", type=click.FloatRange(min=1), help="End after this long; until Ctrl-C without it.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a JSON report to this file.")
@click.option(
    "--log",
    type=click.File("wb"),
    help="Write the daemon's log to this file, from REFRESHD_LOG_LEVEL up; always as JSON, since the demo reads it too:"
    " REFRESHD_LOG is ignored.",
)
@click.option("--viewers", default=25, show_default=True, help="How many viewers are there at any time.")
@click.option("--plug-in/--no-plug-in", default=True, show_default=True, help="Install the example plug-in, too.")
@click.option("--latency", default=0.1, show_default=True, help="Seconds that the upstream takes for an answer.")
def main(
    seconds: float | None, report: Path | None, log: IO[bytes] | None, viewers: int, plug_in: bool, latency: float
) -> None:
    """Run everything on this machine: PostgreSQL, Realtime, the upstream, viewers, and the daemon."""
    for library in LIBRARIES:  # the viewers' clients: the daemon has its own process and log
        logging.getLogger(library).setLevel(logging.CRITICAL)
    console = Console()
    result = asyncio.run(_demo(console, seconds, log, viewers, latency, plug_in=plug_in))
    if report is not None:
        report.write_text(json.dumps(result, indent=2, default=str) + "\n")
    _print_summary(console, result)
    sys.exit(1 if result["errors"] else 0)


async def _demo(
    console: Console, seconds: float | None, log: IO[bytes] | None, size: int, latency: float, *, plug_in: bool
) -> dict[str, Any]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    console.print("starting PostgreSQL, Realtime and the upstream ...")
    async with Stack(calls_per_minute=CALLS_PER_MINUTE, latency_seconds=latency, scheduled=True, changes=True) as stack:
        on_a_page = dict(ON_A_PAGE)
        listen = f"127.0.0.1:{next(free_ports())}"  # chosen here: a quiet log would not tell
        environment = {**daemon_settings(stack), "REFRESHD_HTTP_LISTEN": listen}
        if plug_in:
            console.print("installing the plug-in of examples/ ...")
            # Into a folder that goes with the database, also when this process is killed.
            installed = await asyncio.to_thread(install, EXAMPLE, stack.postgres.folder / "plug-in")
            environment["PYTHONPATH"] = str(installed)
            await stack.add_type((EXAMPLE / "price_targets.sql").read_text(), EXAMPLE_FLAG)
            on_a_page["price-target"] = PLUG_IN_SHARE
        daemon = await stack.start_daemon(environment, log=log)
        await _until_joined(stack, daemon)
        _print_places(console, stack, daemon)
        symbols = by_popularity(stack.upstream.symbols())
        crowd = Crowd(stack.realtime_url, LOBBY, stack.viewer_token, symbols, size=size, on_a_page=on_a_page)
        observer = Observer(stack.owner, crowd)
        async with DemoSite(stack, f"http://{listen}") as site:
            console.print(f"[bold]page[/]        {site.url}: a watch list; open it in several windows")
            console.print(f"[bold]dashboard[/]   http://{listen}/\n")
            await _watch(console, stop, seconds, daemon, crowd, observer)
        report = await _report(stack, daemon, crowd, observer)
        code = await daemon.stop()
    if code != 0:
        report["errors"].append({"event": "daemon_exit", "code": code})
    return report


async def _until_joined(stack: Stack, daemon: DaemonProcess) -> None:
    """Wait until the daemon is in the lobby, or has ended; at a high log level it says nothing of either."""
    async with asyncio.timeout(START_SECONDS):
        while daemon.exit_code is None:
            with suppress(TimeoutError):
                await stack.realtime.until(lambda: stack.realtime.members(LOBBY) > 0, LOOK_SECONDS)
                return


async def _watch(
    console: Console,
    stop: asyncio.Event,
    seconds: float | None,
    daemon: DaemonProcess,
    crowd: Crowd,
    observer: Observer,
) -> None:
    """Run viewers and observer, and show what they see, until the time is over or the daemon is gone."""
    ends_at = asyncio.get_running_loop().time() + (seconds if seconds is not None else float("inf"))
    limits = (CALLS_PER_MINUTE, BYTES_PER_30_DAYS)
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.run(stop))
        group.create_task(observer.run(stop))
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while not stop.is_set() and daemon.exit_code is None and asyncio.get_running_loop().time() < ends_at:
                if console.is_terminal:
                    live.update(
                        render(observer.samples, observer.totals, crowd.present, limits, observer.freshness.share),
                        refresh=True,
                    )
                try:
                    await asyncio.wait_for(stop.wait(), FRAME_SECONDS)
                except TimeoutError:
                    continue
        stop.set()


async def _report(stack: Stack, daemon: DaemonProcess, crowd: Crowd, observer: Observer) -> dict[str, Any]:
    """Return what there is to tell; of a database that is gone, only that."""
    try:
        return await _full_report(stack, daemon, crowd, observer)
    except StoreUnavailableError as error:
        return {"errors": [*daemon.errors, {"event": "database_gone", "error": str(error)}]}


async def _full_report(stack: Stack, daemon: DaemonProcess, crowd: Crowd, observer: Observer) -> dict[str, Any]:
    report = await build_report(observer, crowd, await read_commits(stack.owner))
    failed = await stack.owner.fetchval("select count(*) from api_call_queue_v2_failed")
    usage = await stack.owner.fetchrow("select * from upstream_usage_v2('fmp')")
    assert usage is not None
    return report | {
        "jobs": report["jobs"] | ({"failed": failed} if failed else {}),
        "upstream_calls": stack.upstream.calls,
        "upstream_bytes": usage["bytes_in_30_days"],
        "max_calls_per_60s": stack.upstream.max_calls_per_60s(),
        "errors": list(daemon.errors),
    }


def _print_places(console: Console, stack: Stack, daemon: DaemonProcess) -> None:
    console.print(f"[bold]PostgreSQL[/]  {stack.owner_url}", soft_wrap=True)
    console.print(f"[bold]Realtime[/]    {stack.realtime_url}, topic {LOBBY}")
    console.print(f"[bold]upstream[/]    {stack.upstream.url} (simulated)")
    console.print(f"[bold]daemon[/]      process {daemon.pid}: kill -HUP reloads it")
    console.print("Ctrl-C ends everything.")


def _print_summary(console: Console, report: dict[str, Any]) -> None:
    if "viewers" in report:
        _print_numbers(console, report)
    for error in report["errors"]:
        text = f"{error['event']}: {error['error']}" if "error" in error else str(error)
        console.print(f"[red]error[/] {escape(text)}", soft_wrap=True)


def _print_numbers(console: Console, report: dict[str, Any]) -> None:
    latency = report["join_to_fresh_ms"]
    share, stale = report["fresh_share"], report["S"]
    fresh = "freshness not measured yet" if share is None else f"fresh for [bold]{percentage(share)}[/] of the time"
    if stale is not None:
        fresh += f" (S, the share of viewer-seconds past the TTL: [bold]{percentage(stale)}[/])"
    console.print(
        f"{report['viewers']} viewers looked at {report['pairs_viewed']} pairs, {fresh};"
        f" from the first look to a fresh row {latency['p50']} ms"
        f" (p50), {latency['p99']} ms (p99)."
    )
    console.print(
        f"{report['refreshes_at_expiry']} refreshes at expiry, jobs {report['jobs']}; {report['upstream_calls']} calls,"
        f" at most {report['max_calls_per_60s']} in 60 s, {report['upstream_bytes']:,} bytes."
    )


if __name__ == "__main__":
    main()
