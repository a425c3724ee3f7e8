"""Whether the daemon is alive, fit for work, and well: judged from what its parts say about themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from daemon import __version__
from daemon.contracts import Clock, Flags, Verdict
from daemon.health.vitals import Snapshot
from daemon.holds import bytes_are_spent
from daemon.outage import Outage
from daemon.pulse import stuck
from daemon.store.vitals import CronJob, as_fields

DATABASE_SILENT_SECONDS = 30.0
"""The gate asks it every few seconds: after so long without an answer the daemon is not fit for work."""

OUTAGE_SECONDS = 60.0
PRESENCE_SECONDS = 60.0
"""A topic may be without a current state for so long: a session that is renewed, a server that restarts."""

HELD_SECONDS = 300.0

NO_COMPLETION_SECONDS = 600.0
MOST_PENDING = 1_000
MOST_PENDING_SECONDS = 1_800.0
LATE_INTERVALS = 2.0


class PresenceLike(Protocol):
    """What is asked of presence."""

    @property
    def enabled(self) -> bool:
        """Whether the flag is on."""
        ...

    @property
    def ready(self) -> bool:
        """Whether everything that is ours is current."""
        ...

    @property
    def shards(self) -> Mapping[str, Any]:
        """What is ours, with ``topics``, ``confirmed`` and ``viewers`` each."""
        ...


class Timed(Protocol):
    """A part that does something again and again."""

    name: str
    last_success_monotonic: float | None

    @property
    def interval_seconds(self) -> float:
        """How far apart its turns are."""
        ...


class Problem(NamedTuple):
    """Something that is not as it should be."""

    part: str
    reason: str


@dataclass(slots=True)
class Phase:
    """Where the daemon is in its life; ``main`` moves it on."""

    name: str = "starting"
    """``starting``, ``running`` or ``draining``."""
    reason: str = "nothing has been read yet"
    schema_version: int | None = None


class Health:
    """Judges.

    Args:
        clock: Monotonic seconds.
        phase: Where the daemon is in its life.
        flags: Gives the flags as last read.
        presence: Gives how presence is.
        snapshot: Gives how everything stood a few seconds ago; None before the first look.
        parts: Every service.
        timed: Those of them that do something again and again. ``gate`` is the one that asks the database most often.
        cron_jobs: Jobs of pg_cron that there must be.
        migration: Gives by data type how those stand that are moving over from an older system, or have.
    """

    def __init__(
        self,
        clock: Clock,
        phase: Phase,
        *,
        flags: Callable[[], Flags],
        presence: Callable[[], PresenceLike],
        snapshot: Callable[[], Snapshot | None],
        parts: Sequence[object],
        timed: Sequence[Timed],
        cron_jobs: Sequence[str] = (),
        migration: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._clock = clock
        self._phase = phase
        self._flags = flags
        self._presence = presence
        self._snapshot = snapshot
        self._parts = parts
        self._timed = {part.name: part for part in timed}
        self._cron_jobs = cron_jobs
        self._migration = migration
        self._began_at = clock.monotonic()
        self._since: dict[str, float] = {}
        """Since when what may last for a while has lasted."""

    def alive(self) -> Verdict:
        """Return whether every part gives signs of life."""
        if late := stuck(self._parts):
            listed = ", ".join(f"{name} for {seconds:.0f} s" for name, seconds in sorted(late.items()))
            return Verdict(False, f"stuck: {listed}")
        return Verdict(True, "every part gives signs of life")

    def ready(self) -> Verdict:
        """Return whether the daemon is fit for work: database, schema, presence."""
        if self._phase.name != "running":
            return Verdict(False, f"{self._phase.name}: {self._phase.reason}")
        alive = self.alive()
        problems = [*self._database_problems(), *self._presence_problems(), *self._outages()]
        if not alive.is_good:
            return alive
        if problems:
            return Verdict(False, "; ".join(f"{problem.part}: {problem.reason}" for problem in problems))
        return Verdict(True, "idle: flags off" if self._flags().idle else "works")

    def problems(self) -> list[Problem]:
        """Return everything that somebody should look at now."""
        if self._phase.name == "starting":
            return [Problem("startup", self._phase.reason)]
        alive = self.alive()
        return [
            *([] if alive.is_good else [Problem("progress", alive.reason)]),
            *self._database_problems(),
            *self._presence_problems(),
            *self._outages(),
            *self._late_parts(),
            *self._queue_problems(),
            *self._cron_problems(),
        ]

    def summary(self) -> str:
        """Return one line for ``systemctl status``."""
        if self._phase.name != "running":
            return f"{self._phase.name}: {self._phase.reason}"
        if problems := self.problems():
            return f"{problems[0].part}: {problems[0].reason}" + (
                f" (and {len(problems) - 1} more)" * (len(problems) > 1)
            )
        if self._flags().idle:
            return "idle: flags off"
        snapshot = self._snapshot()
        if snapshot is None or snapshot.staleness is None:
            return "works; nobody looks at anything"
        pairs, fresh = sum(row.pairs for row in snapshot.freshness), 1 - snapshot.staleness
        return f"works; {fresh:.1%} fresh of what is viewed ({pairs:,} pairs), {_pending(snapshot):,} jobs wait"

    def detail(self) -> Mapping[str, Any]:
        """Return everything, for people and for monitoring that reads JSON."""
        problems, snapshot = self.problems(), self._snapshot()
        ready, flags = self.ready(), self._flags()
        return {
            "status": "failing" if problems else "ok",
            "reason": "; ".join(f"{problem.part}: {problem.reason}" for problem in problems) or ready.reason,
            "problems": [problem._asdict() for problem in problems],
            "alive": self.alive().is_good,
            "ready": ready.is_good,
            "phase": self._phase.name,
            "version": __version__,
            "schema_version": self._phase.schema_version,
            "uptime_seconds": round(self._clock.monotonic() - self._began_at, 1),
            "flags": {**flags.global_by_name(), "types": dict(flags.types)},
            "migration": self._migration(),
            "parts": {name: self._part(part) for name, part in self._timed.items()},
            "presence": self._presence_detail(),
            **_snapshot_detail(snapshot, self._clock.monotonic()),
        }

    def _part(self, part: Timed) -> Mapping[str, Any]:
        age = self._age(part)
        return {
            "last_success_seconds_ago": None if age is None else round(age, 1),
            "interval_seconds": round(part.interval_seconds, 1),
            "late": self._is_late(part),
        }

    def _age(self, part: Timed) -> float | None:
        last = part.last_success_monotonic
        return None if last is None else self._clock.monotonic() - last

    def _is_late(self, part: Timed) -> bool:
        age = self._age(part)
        waited = self._clock.monotonic() - self._began_at if age is None else age
        return waited > (1 + LATE_INTERVALS) * max(part.interval_seconds, DATABASE_SILENT_SECONDS)

    def _database_problems(self) -> Iterator[Problem]:
        gate = self._timed.get("gate")
        if gate is None:
            return
        age = self._age(gate)
        waited = self._clock.monotonic() - self._began_at if age is None else age
        if waited > max(DATABASE_SILENT_SECONDS, 3 * gate.interval_seconds):
            yield Problem("database", f"PostgreSQL has not answered for {waited:.0f} s")

    def _presence_problems(self) -> Iterator[Problem]:
        presence = self._presence()
        for seconds in self._lasting("presence", presence.enabled and not presence.ready):
            if seconds >= PRESENCE_SECONDS:
                topics = sum(shard.topics for shard in presence.shards.values())
                confirmed = sum(shard.confirmed for shard in presence.shards.values())
                yield Problem(
                    "presence", f"{topics - confirmed} of {topics} topics are not current for {seconds:.0f} s"
                )

    def _outages(self) -> Iterator[Problem]:
        """Yield what has failed at every attempt for a while: claims, checks, shards, subscriptions, whatever it is."""
        for part in self._parts:
            outage = getattr(part, "outage", None)
            if isinstance(outage, Outage) and outage.seconds >= OUTAGE_SECONDS:
                yield Problem(outage.part, f"has failed at every attempt for {outage.seconds:.0f} s: see the log")

    def _late_parts(self) -> Iterator[Problem]:
        for name, part in self._timed.items():
            if self._is_late(part):
                age = self._age(part)
                last = "has never succeeded" if age is None else f"last succeeded {age:.0f} s ago"
                yield Problem(name, f"{last}, its interval is {part.interval_seconds:.0f} s")

    def _queue_problems(self) -> Iterator[Problem]:
        snapshot = self._snapshot()
        if snapshot is None or not snapshot.queue.queue_is_on:
            self._since.clear()
            return
        for upstream in snapshot.queue.upstreams:
            yield from self._upstream_problems(upstream)
        pending = _pending(snapshot)
        idle = pending > 0 and snapshot.queue.rates.get("finished_in_minute", 0) == 0
        for seconds in self._lasting("completions", idle):
            if seconds >= NO_COMPLETION_SECONDS:
                yield Problem("queue", f"{pending:,} jobs wait and none has finished for {seconds / 60:.0f} min")
        for seconds in self._lasting("depth", pending > MOST_PENDING):
            if seconds >= MOST_PENDING_SECONDS:
                yield Problem(
                    "queue", f"more than {MOST_PENDING:,} jobs wait for {seconds / 60:.0f} min: {pending:,} now"
                )

    def _upstream_problems(self, upstream: Mapping[str, Any]) -> Iterator[Problem]:
        name = upstream["upstream"]
        for seconds in self._lasting(f"breaker {name}", upstream["breaker_state"] != "closed"):
            if seconds >= HELD_SECONDS:
                yield Problem("breaker", f"{name} is {upstream['breaker_state']}: {upstream['breaker_reason']}")
        for seconds in self._lasting(f"pause {name}", upstream["paused_until"] is not None):
            if seconds >= HELD_SECONDS:
                yield Problem("upstream", f"{name} is paused for {seconds / 60:.0f} min: {upstream['pause_reason']}")
        if bytes_are_spent(upstream):
            yield Problem("budget", f"95 % of the bytes of 30 days of {name} are spent")

    def _cron_problems(self) -> Iterator[Problem]:
        snapshot = self._snapshot()
        if snapshot is None:
            return
        if snapshot.cron_jobs is None:
            if self._cron_jobs:
                yield Problem("pg_cron", "its tables cannot be read, and REFRESHD_CRON_JOBS names jobs")
            return
        by_name = {job.name: job for job in snapshot.cron_jobs}
        for missing in [name for name in self._cron_jobs if name not in by_name]:
            yield Problem("pg_cron", f"the job {missing} is missing, or hidden from this role: docs/runbook.md")
        for job in snapshot.cron_jobs:
            if job.active and job.status == "failed":
                yield Problem("pg_cron", f"the last run of {job.name} failed: {job.message}")
            elif job.name in self._cron_jobs and not job.active:
                yield Problem("pg_cron", f"the job {job.name} is not active")

    def _lasting(self, what: str, holds: bool) -> Iterator[float]:
        """Yield for how many seconds something has held, nothing where it does not."""
        if not holds:
            self._since.pop(what, None)
            return
        now = self._clock.monotonic()
        yield now - self._since.setdefault(what, now)

    def _presence_detail(self) -> Mapping[str, Any]:
        presence = self._presence()
        return {
            "enabled": presence.enabled,
            "current": presence.ready,
            "shards": {
                name: {"topics": shard.topics, "current": shard.confirmed, "viewers": shard.viewers}
                for name, shard in presence.shards.items()
            },
        }


def _pending(snapshot: Snapshot) -> int:
    """Return how many jobs could be worked off now: of types that are on, and whose time has come."""
    return sum(row["pending"] - row["waiting"] for row in snapshot.queue.types if row["enabled"])


def _snapshot_detail(snapshot: Snapshot | None, now: float) -> Mapping[str, Any]:
    if snapshot is None:
        return {"looked_seconds_ago": None, "freshness": None, "queue": None, "upstreams": None, "cron_jobs": None}
    queue = snapshot.queue
    return {
        "looked_seconds_ago": round(now - snapshot.taken_at, 1),
        "staleness": snapshot.staleness,
        "freshness": as_fields(snapshot.freshness),
        "queue": {"types": queue.types, "rates": queue.rates, "longest_overdue": queue.longest_overdue},
        "upstreams": queue.upstreams,
        "oldest_snapshot_seconds": round(snapshot.oldest_snapshot_seconds, 1),
        "cron_jobs": None if snapshot.cron_jobs is None else [_cron(job) for job in snapshot.cron_jobs],
    }


def _cron(job: CronJob) -> Mapping[str, Any]:
    return {
        "name": job.name,
        "active": job.active,
        "schedule": job.schedule,
        "last_status": job.status,
        "last_message": job.message,
        "last_start_seconds_ago": job.seconds_ago,
    }
