"""The verdicts about the daemon, case by case, with everything they are judged from in hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from daemon.contracts import Flags
from daemon.health.judge import (
    DATABASE_SILENT_SECONDS,
    HELD_SECONDS,
    MOST_PENDING_SECONDS,
    NO_COMPLETION_SECONDS,
    OUTAGE_SECONDS,
    PRESENCE_SECONDS,
    Health,
    Phase,
)
from daemon.health.vitals import Snapshot
from daemon.outage import Outage
from daemon.pulse import SLACK_SECONDS, Pulse
from daemon.store.queue_state import QueueState
from daemon.store.vitals import CronJob, TypeFreshness
from tests.clocks import StandingClock

ON = Flags(use_queue_system=True, use_presence_tracking=True, types={"quote": True})
TYPE: Mapping[str, Any] = {
    "data_type": "quote",
    "enabled": True,
    "pending": 0,
    "waiting": 0,
    "processing": 0,
    "oldest_seconds": None,
}
UPSTREAM: Mapping[str, Any] = {
    "upstream": "fmp", "breaker_state": "closed", "breaker_reason": None, "paused_until": None, "pause_reason": None,
    "bytes_in_30_days": 1, "bytes_per_30_days": 100, "calls_per_minute": 300, "calls_in_window": 0,
}  # fmt: skip


@dataclass
class Shard:
    """A shard as presence tells it."""

    topics: int = 3
    confirmed: int = 3
    viewers: int = 7


@dataclass
class Presence:
    """Presence as it tells it."""

    enabled: bool = True
    shards: Mapping[str, Shard] = field(default_factory=lambda: {"viewers:0": Shard()})

    @property
    def ready(self) -> bool:
        return all(shard.confirmed == shard.topics for shard in self.shards.values())


class Part:
    """A part that does something again and again."""

    def __init__(self, name: str, interval_seconds: float, clock: StandingClock) -> None:
        self.name = name
        self.interval_seconds = interval_seconds
        self.last_success_monotonic: float | None = clock.monotonic()
        self.pulse = Pulse(clock.monotonic)
        self.outage = Outage(name, monotonic=clock.monotonic)


class Stage:
    """Everything that is judged, all of it well at first."""

    def __init__(self, cron_jobs: tuple[str, ...] = ()) -> None:
        self.clock = StandingClock()
        self.phase = Phase("running")
        self.flags = ON
        self.presence = Presence()
        self.gate, self.sweep = Part("gate", 5, self.clock), Part("sweep", 60, self.clock)
        queue = QueueState([TYPE], [UPSTREAM], {"finished_in_minute": 5}, None, True)
        self.snapshot: Snapshot | None = Snapshot(self.clock.monotonic(), [], queue, 0.0, ON)
        self.health = Health(
            self.clock,
            self.phase,
            flags=lambda: self.flags,
            presence=lambda: self.presence,
            snapshot=lambda: self.snapshot,
            parts=[self.gate, self.sweep],
            timed=[self.gate, self.sweep],
            cron_jobs=cron_jobs,
        )

    def see(self, **changes: Any) -> None:
        assert self.snapshot is not None
        queue = {name: changes.pop(name) for name in ("types", "upstreams", "rates", "queue_is_on") if name in changes}
        self.snapshot = replace(self.snapshot, queue=replace(self.snapshot.queue, **queue), **changes)

    def pass_time(self, seconds: float, *, working: bool = True) -> None:
        """Let time pass in which everything works, or nothing."""
        self.health.problems()  # somebody looks from time to time
        self.clock.move(seconds)
        if working:
            for part in (self.gate, self.sweep):
                part.last_success_monotonic = self.clock.monotonic()

    @property
    def parts_with_problems(self) -> set[str]:
        return {problem.part for problem in self.health.problems()}


def test_all_is_well_while_everything_works() -> None:
    stage = Stage()
    stage.pass_time(3_600)

    detail = stage.health.detail()

    assert stage.health.alive().is_good
    assert stage.health.ready() == (True, "works")
    assert (detail["status"], detail["problems"]) == ("ok", [])
    assert detail["parts"]["gate"] == {"last_success_seconds_ago": 0.0, "interval_seconds": 5, "late": False}


def test_with_all_flags_off_it_is_well_and_says_that_it_idles() -> None:
    stage = Stage()
    stage.flags = Flags()
    stage.presence = Presence(enabled=False, shards={})

    assert stage.health.ready() == (True, "idle: flags off")
    assert stage.health.summary() == "idle: flags off"
    assert stage.parts_with_problems == set()


@pytest.mark.parametrize("phase", ["starting", "draining"])
def test_it_is_not_ready_before_it_works_and_when_it_stops(phase: str) -> None:
    stage = Stage()
    stage.phase.name, stage.phase.reason = phase, "PostgreSQL at db:5432 is unavailable"

    assert stage.health.alive().is_good
    assert stage.health.ready() == (False, f"{phase}: PostgreSQL at db:5432 is unavailable")
    assert stage.health.summary().startswith(phase)


def test_a_database_that_does_not_answer_is_told_after_half_a_minute() -> None:
    stage = Stage()
    stage.pass_time(DATABASE_SILENT_SECONDS, working=False)
    before = stage.health.ready()
    stage.pass_time(1, working=False)

    assert before.is_good
    assert stage.health.ready() == (False, "database: PostgreSQL has not answered for 31 s")
    assert stage.health.detail()["status"] == "failing"
    stage.pass_time(1)
    assert stage.health.ready().is_good


def test_a_part_that_is_stuck_is_neither_alive_nor_ready() -> None:
    stage = Stage()
    stage.sweep.pulse.beat(60)
    stage.pass_time(60 + SLACK_SECONDS + 7)

    assert stage.health.alive() == (False, "stuck: sweep for 7 s")
    assert not stage.health.ready().is_good
    assert stage.parts_with_problems == {"progress"}


def test_topics_that_are_not_current_are_told_when_it_lasts() -> None:
    stage = Stage()
    stage.presence = Presence(shards={"viewers:0": Shard(confirmed=1)})
    stage.pass_time(PRESENCE_SECONDS - 1)
    before = stage.health.ready()
    stage.pass_time(1)

    assert before.is_good  # a session that is renewed is nobody's business
    assert stage.health.ready() == (False, "presence: 2 of 3 topics are not current for 60 s")
    stage.presence = Presence()
    assert stage.health.ready().is_good


def test_a_part_is_late_after_twice_its_interval_beyond_the_first() -> None:
    stage = Stage()
    stage.pass_time(179, working=False)
    stage.gate.last_success_monotonic = stage.clock.monotonic()
    before = stage.parts_with_problems
    stage.pass_time(2, working=False)
    stage.gate.last_success_monotonic = stage.clock.monotonic()

    assert before == set()
    [problem] = stage.health.problems()
    assert problem == ("sweep", "last succeeded 181 s ago, its interval is 60 s")


def test_an_open_breaker_is_told_after_five_minutes_and_used_up_bytes_at_once() -> None:
    stage = Stage()
    stage.see(upstreams=[{**UPSTREAM, "breaker_state": "open", "breaker_reason": "timeout"}])
    stage.pass_time(HELD_SECONDS - 1)
    before = stage.parts_with_problems
    stage.pass_time(2)

    assert before == set()
    assert ("breaker", "fmp is open: timeout") in stage.health.problems()
    stage.see(upstreams=[{**UPSTREAM, "bytes_in_30_days": 95}])
    assert stage.parts_with_problems == {"budget"}


def test_a_long_pause_is_told_with_its_reason() -> None:
    stage = Stage()
    stage.see(upstreams=[{**UPSTREAM, "paused_until": "later", "pause_reason": "bandwidth"}])
    stage.pass_time(HELD_SECONDS)

    assert stage.health.problems() == [("upstream", "fmp is paused for 5 min: bandwidth")]


def test_a_queue_that_was_off_begins_afresh() -> None:
    stage = Stage()
    stalled = {"types": [{**TYPE, "pending": 3}], "rates": {"finished_in_minute": 0}}
    stage.see(**stalled)
    stage.pass_time(60)
    stage.see(queue_is_on=False)
    stage.pass_time(3_600)
    stage.see(queue_is_on=True)

    assert stage.health.problems() == []


def test_a_part_that_fails_at_every_attempt_is_told_and_the_daemon_is_not_ready() -> None:
    stage = Stage()
    stage.gate.outage = Outage("presence_shards", monotonic=stage.clock.monotonic)
    stage.gate.outage.failed(RuntimeError("no"))
    stage.pass_time(OUTAGE_SECONDS)

    assert stage.health.problems() == [("presence_shards", "has failed at every attempt for 60 s: see the log")]
    assert not stage.health.ready().is_good
    stage.gate.outage.passed()
    assert stage.health.ready().is_good


def test_jobs_that_wait_while_none_finishes_are_told_and_so_is_a_long_queue() -> None:
    stage = Stage()
    stage.see(types=[{**TYPE, "pending": 3, "waiting": 1}], rates={"finished_in_minute": 0})
    stage.pass_time(NO_COMPLETION_SECONDS)
    assert stage.health.problems() == [("queue", "2 jobs wait and none has finished for 10 min")]

    stage.see(types=[{**TYPE, "pending": 3_000}], rates={"finished_in_minute": 9})
    stage.pass_time(MOST_PENDING_SECONDS)
    assert stage.health.problems() == [("queue", "more than 1,000 jobs wait for 30 min: 3,000 now")]

    stage.see(types=[{**TYPE, "pending": 3, "waiting": 3}], rates={"finished_in_minute": 0})
    stage.pass_time(NO_COMPLETION_SECONDS)
    assert stage.health.problems() == []  # their time has not come

    stage.see(types=[{**TYPE, "pending": 3, "enabled": False}])
    stage.pass_time(NO_COMPLETION_SECONDS)
    assert stage.health.problems() == []  # nobody is to work on them


def test_while_the_queue_is_off_nothing_of_it_is_a_problem() -> None:
    stage = Stage()
    stage.see(
        types=[{**TYPE, "pending": 3_000}],
        upstreams=[{**UPSTREAM, "bytes_in_30_days": 99}],
        rates={"finished_in_minute": 0},
        queue_is_on=False,
    )
    stage.pass_time(MOST_PENDING_SECONDS)

    assert stage.health.problems() == []


def cron_job(name: str, status: str | None, *, active: bool = True) -> CronJob:
    return CronJob(name, active, "* * * * *", status, "it broke", None, 5.0)


def test_a_failed_run_counts_as_failed_and_a_missing_job_as_missing() -> None:
    stage = Stage(cron_jobs=("old-quotes", "gone", "asleep"))
    stage.see(
        cron_jobs=[
            cron_job("old-quotes", "failed"),
            cron_job("other", "failed"),
            cron_job("asleep", "succeeded", active=False),
            cron_job("off", "failed", active=False),
            cron_job("fine", "succeeded"),
            cron_job("new", None),
        ]
    )

    assert {problem.reason for problem in stage.health.problems()} == {
        "the job gone is missing, or hidden from this role: docs/runbook.md",
        "the last run of old-quotes failed: it broke",
        "the last run of other failed: it broke",
        "the job asleep is not active",
    }


def test_expected_jobs_that_cannot_be_looked_up_are_a_problem_and_none_expected_are_none() -> None:
    assert Stage().parts_with_problems == set()
    assert Stage(cron_jobs=("old-quotes",)).parts_with_problems == {"pg_cron"}


def test_the_line_for_systemd_says_how_fresh_what_is_viewed_is() -> None:
    stage = Stage()
    nobody = stage.health.summary()
    stage.see(freshness=[TypeFreshness("quote", 10, 40, 39, 9, 1)], types=[{**TYPE, "pending": 2}])

    assert nobody == "works; nobody looks at anything"
    assert stage.health.summary() == "works; 97.5% fresh of what is viewed (10 pairs), 2 jobs wait"
    assert stage.health.detail()["staleness"] == pytest.approx(1 / 40)
