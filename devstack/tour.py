"""``make tour``: an operator's tour through a running system; what it prints is docs/operations-tour.md."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import orjson
from aiohttp import ClientSession

from daemon.log import LIBRARIES
from devstack.commands import run_command, shortened
from devstack.daemon_process import REPOSITORY, DaemonProcess
from devstack.stack import LOBBY, Stack
from devstack.viewers import Crowd, by_popularity

WARM_UP_SECONDS = 25.0

INTRODUCTION = """# A tour for operators

Written by `make tour` from a running system: the embedded stack with 25 simulated viewers, and the daemon as its own
process. The output of every `refreshd` command, the answers over HTTP and the lines of the log are as they came.
`log | EVENT` stands for `journalctl -u refreshd -o cat` and a look for those events: there was no journal here.
"""


class Tour:
    """Runs commands and writes them down.

    Args:
        stack: What they work on.
        log: The daemon's log.
    """

    def __init__(self, stack: Stack, log: Path) -> None:
        self._stack = stack
        self._log = log
        self._seen = 0
        self.pages = [INTRODUCTION]

    def say(self, heading: str, text: str) -> None:
        """Write a section."""
        self.pages.append(f"\n## {heading}\n\n{text}\n")

    async def run(self, command: str, *, most_lines: int = 30) -> None:
        """Run a ``refreshd`` command and show what it printed."""
        code, output = await run_command(command, self._stack.environment())
        self._show(command, output + ("" if code == 0 else f"\n(exit code {code})"), most_lines)

    async def get(self, url: str, path: str, *, most_lines: int = 12) -> None:
        """Ask the daemon over HTTP."""
        async with ClientSession() as client, client.get(f"{url}{path}") as answer:
            text = f"HTTP {answer.status}\n{await answer.text()}"
        self._show(f"curl -i localhost:8797{path}", text, most_lines)

    def log_lines(self, *events: str, most_lines: int = 8) -> None:
        """Show what the log has said of these events since it was last looked at."""
        lines = self._log.read_text().splitlines()
        fresh, self._seen = lines[self._seen :], len(lines)
        shown = [line for line in fresh if orjson.loads(line[3:])["event"] in events]
        self._show(f"log | {' '.join(events)}", "\n".join(line[3:] for line in shown[-most_lines:]), most_lines)

    def warnings(self, most_lines: int = 12) -> None:
        """Show the first lines at warning and above."""
        lines = [line[3:] for line in self._log.read_text().splitlines() if line[1] in "01234"]
        self.pages.append("\n```json\n" + "\n".join(line[:400] for line in lines[:most_lines]) + "\n```\n")

    def skip_log(self) -> None:
        """Begin to look at the log from here."""
        self._seen = len(self._log.read_text().splitlines())

    def _show(self, command: str, output: str, most_lines: int) -> None:
        self.pages.append("\n```console\n$ " + f"{command}\n{shortened(output, most_lines)}" + "\n```\n")


async def guide(tour: Tour, stack: Stack, daemon: DaemonProcess, log: Path) -> DaemonProcess:
    """Go through everything; return the daemon that runs at the end."""
    line = await daemon.until_event("http_listening")
    url = f"http://127.0.0.1:{line['port']}"
    tour.say(
        "Does it work?", "One screen, from anywhere that reaches the database; exit code 1 where a person is needed."
    )
    await tour.run("refreshd status")
    await tour.get(url, "/readyz")
    tour.say("What is queued, and what may be spent", "Depth by type, both budgets, prices, breaker.")
    await tour.run("refreshd queue")
    tour.say("Why is this symbol refreshed, or not?", "The words of the policy about one pair.")
    await tour.run("refreshd explain AAPL quote")
    tour.say("Who is listening", "Connections, shards and viewers of every daemon.")
    await tour.run("refreshd presence")

    tour.say("Turning a type off and on", "The database holds to it at once; the reload lets the daemon read it, too.")
    tour.skip_log()
    await tour.run("refreshd flags off migrate_profile_type")
    daemon.send(signal.SIGHUP)
    await daemon.until(lambda line: line.get("event") == "reloaded", after=len(daemon.lines) - 1)
    tour.log_lines("flag_changed", "reloaded")
    await tour.run("refreshd explain AAPL profile")
    await tour.run("refreshd flags on migrate_profile_type")
    after = len(daemon.lines)
    daemon.send(signal.SIGHUP)
    await daemon.until_event("reloaded", after=after)
    tour.log_lines("flag_changed", "reloaded")

    tour.say("One refresh by hand", "What the upstream says now, what would be stored, and what was odd about it.")
    await tour.run("refreshd fetch quote AAPL --dry-run")

    await break_things(tour, stack, daemon)
    return await restart(tour, stack, daemon, log)


async def break_things(tour: Tour, stack: Stack, daemon: DaemonProcess) -> None:
    """Let the upstream fail for a while."""
    tour.say(
        "The upstream breaks",
        "Five failures in a row open the breaker; one probe at a time finds out when it is over. No job is lost.",
    )
    tour.skip_log()
    async with ClientSession() as client:
        fault = {"kind": "status", "status": 503}
        base = stack.upstream.url.removesuffix("/stable")
        await client.post(f"{base}/_faults", data=orjson.dumps(fault))
        await stack.owner.execute("update refresh_state_v2 set next_due_at = now() where open_job_id is null")
        await daemon.until_event("breaker_opened", 60)
        await tour.run("refreshd status")
        await client.delete(f"{base}/_faults")
    await daemon.until_event("breaker_closed", 90)
    tour.log_lines("breaker_opened", "breaker_probed", "breaker_closed", "calls_held", "calls_resumed")


async def restart(tour: Tour, stack: Stack, daemon: DaemonProcess, log: Path) -> DaemonProcess:
    """Kill the daemon, start another, and stop that one as one should."""
    tour.say(
        "The process is killed",
        "`kill -9` in the middle of work. systemd starts it again; here that is done by hand. What it had claimed is"
        " claimed again, and nothing is fetched for nobody.",
    )
    tour.skip_log()
    daemon.send(signal.SIGKILL)
    await daemon.wait()
    with log.open("ab") as file:
        again = await stack.start_daemon({"REFRESHD_BREAKER_OPEN_SECONDS": "5"}, log=file)
        await again.until_event("realtime_connected")
        await asyncio.sleep(5)
        tour.log_lines("starting", "started", "shards_taken", "realtime_connected")
        await tour.run("refreshd status")
        tour.say(
            "Warnings of the whole tour", "`journalctl -u refreshd -p warning -o cat` shows these and nothing else."
        )
        tour.warnings()
        tour.say("It stops", "Calls on the way may end, leases are given back, shards handed over.")
        tour.skip_log()
        code = await again.stop()
        tour.log_lines("stopping", "stopped")
        tour.pages.append(f"\nExit code {code}.\n")
    return again


async def take() -> str:
    """Take the tour and return what was written down."""
    stop = asyncio.Event()
    with TemporaryDirectory(prefix="refreshd-tour-") as folder:
        log = Path(folder) / "log"
        async with Stack(scheduled=True) as stack:
            with log.open("wb") as file:
                daemon = await stack.start_daemon({"REFRESHD_BREAKER_OPEN_SECONDS": "5"}, log=file)
                await daemon.until_event("realtime_connected")
                symbols = by_popularity(stack.upstream.symbols())
                crowd = Crowd(stack.realtime_url, LOBBY, stack.viewer_token, symbols)
                async with asyncio.TaskGroup() as group:
                    group.create_task(crowd.run(stop))
                    await asyncio.sleep(WARM_UP_SECONDS)
                    tour = Tour(stack, log)
                    try:
                        await guide(tour, stack, daemon, log)
                    finally:
                        stop.set()
    return "".join(tour.pages)


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=REPOSITORY / "docs" / "operations-tour.md",
    show_default=True,
    help="Where to write it.",
)
def main(out: Path) -> None:
    """Go through a running system as an operator does, and write down what is seen."""
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.CRITICAL)
    with suppress(KeyboardInterrupt):
        out.write_text(asyncio.run(take()))
        click.echo(f"wrote {out}")


if __name__ == "__main__":
    main()
