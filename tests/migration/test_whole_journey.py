"""The whole way with the real pg_cron, a daemon and viewers: all types over, one back and over again, the end."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from daemon.migration.phases import ORDER
from daemon.store.moves import read_journal
from devstack.daemon_process import DaemonProcess
from devstack.old_system.cron import PG_CRON, find_pg_cron
from devstack.old_system.server import AGENT, OldSystem
from devstack.stack import LOBBY, Stack
from devstack.viewers import Crowd, by_popularity
from tests.cli.test_commands import refreshd
from tests.needs import require

MANY = 30
A_FEW = 2
"""Symbols that a run of the old system refreshes: it is never done with all of them, and always has something to do."""
EVERY_MINUTE = "* * * * *"
SETTINGS = {
    "REFRESHD_MIGRATION_HOLD_SECONDS": "1",
    "REFRESHD_MIGRATION_SAMPLE_SECONDS": "2",
    "REFRESHD_SWEEP_INTERVAL_SECONDS": "5",
}
LONGER_THAN_A_MINUTE = 75.0


@dataclass(frozen=True)
class Town:
    """Old system, new system, and people who look."""

    stack: Stack
    old: OldSystem
    daemon: DaemonProcess

    async def migration(self, *arguments: str) -> str:
        """Take a step as an operator does, and see that it works."""
        code, text = await refreshd(self.stack, "migration", *arguments, **SETTINGS)
        assert code == 0, text
        return text

    async def runs(self) -> dict[str, int]:
        """Return how often each job of pg_cron has run."""
        rows = await self.stack.owner.fetch(
            "select j.jobname, count(d.runid) as runs from cron.job j left join cron.job_run_details d using (jobid)"
            " group by 1"
        )
        return {row["jobname"]: row["runs"] for row in rows}

    async def until_run(self, names: Iterable[str], before: Mapping[str, int]) -> dict[str, int]:
        """Wait until pg_cron has run each of these jobs once more; return how often all have run then."""
        async with asyncio.timeout(LONGER_THAN_A_MINUTE):
            while True:
                runs = await self.runs()
                if all(runs[name] > before.get(name, 0) for name in names):
                    return runs
                await asyncio.sleep(0.5)  # pg_cron tells nobody

    def callers(self) -> dict[str, list[str]]:
        """Return by endpoint who called it, one after the other, repetitions left out."""
        who = defaultdict(list)
        for call in self.stack.upstream.seen:
            if "-check" not in call.agent:
                who[call.endpoint].append("old" if AGENT in call.agent else "new")
        return {endpoint: [name for name, _ in itertools.groupby(names)] for endpoint, names in who.items()}


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    """Set everything up, with a tick that shows when pg_cron goes round."""
    binaries = find_pg_cron()
    require("pg_cron", found=binaries, hint="apt-get install postgresql-15-cron")
    stop = asyncio.Event()
    async with Stack(moved=False, binaries=binaries, settings=PG_CRON, latency_seconds=0.02, durable=False) as stack:
        symbols = by_popularity(stack.upstream.symbols())[:MANY]
        await stack.owner.execute("create extension pg_cron")
        old = OldSystem(stack.owner_url, stack.upstream.url, stack.upstream_key, symbols_per_run=A_FEW)
        await old.install(dict.fromkeys(ORDER, EVERY_MINUTE))
        await stack.owner.execute("select cron.schedule('tick', '* * * * *', 'select 1')")
        daemon = await stack.start_daemon(SETTINGS)
        crowd = Crowd(stack.realtime_url, LOBBY, stack.viewer_token, symbols, size=4)
        async with asyncio.TaskGroup() as group:
            group.create_task(old.run(stop))
            group.create_task(crowd.run(stop))
            await old.until_ready()
            yield Town(stack, old, daemon)
            stop.set()


@pytest.mark.timeout(420)
async def test_all_types_move_over_one_goes_back_and_both_systems_never_fetch_the_same() -> None:
    async with town() as place:
        await place.until_run(await place.runs(), {})
        code, text = await refreshd(place.stack, "baseline", "record", "before")
        assert code == 0, text
        assert "refresh-exchange-market-status" in text

        for data_type in ORDER:
            await place.migration("start", data_type, "--why", "the journey")
        assert {name for name, active in await _jobs(place) if active} == {"tick"}
        paused = await place.runs()
        await place.migration("rollback", "profile", "--why", "a drill")
        runs = await place.until_run(["tick", "refresh-profile"], paused)
        assert {name for name in runs if runs[name] > paused[name]} == {"tick", "refresh-profile"}
        await place.migration("start", "profile")

        text = (await refreshd(place.stack, "migration", "status", **SETTINGS))[1]
        unwell = {line.split()[1] for line in text.splitlines() if line.startswith("  FAIL")}
        assert unwell <= {"freshness"}, (
            text
        )  # in so little time, one pair that waits a second weighs as much as an hour
        await place.migration("finish", *ORDER, "--force", "--why", "a journey in fast motion")
        finished = place.daemon.events["job_finished"]
        await place.migration("finalize", "--yes")
        await place.daemon.until_event("names_changed", 30)
        await place.daemon.until(
            lambda _line: place.daemon.events["job_finished"] >= finished + 3, LONGER_THAN_A_MINUTE
        )

        callers = place.callers()
        assert callers.pop("profile")[:3] == ["old", "new", "old"]  # and then new, if one fell due in time
        assert set(map(tuple, callers.values())) <= {("old", "new"), ("old",), ("new",)}
        assert ("old", "new") in map(tuple, callers.values())
        assert {name for name, _ in await _jobs(place)} == {"tick"}
        assert (await read_journal(place.stack.owner))[0].step == "finalized"
        assert place.stack.upstream.max_calls_per_60s() <= 300
        assert [line for line in place.daemon.lines if line["level"] in {"error", "critical"}] == []
        assert await place.daemon.stop() == 0


async def _jobs(place: Town) -> list[tuple[str, bool]]:
    rows = await place.stack.owner.fetch("select jobname, active from cron.job")
    return [(row["jobname"], row["active"]) for row in rows]
