"""Thousands of simulated hours of the policy: random demand, failures, outages, restarts and steps of the clock.

Demand, gain, prices, leads, due times and timers are the daemon's own code under a virtual clock. What lives in SQL is
modelled here: the claim by gain and cost, the lane of first views, the pace of both budgets; tests/store holds the SQL
to it. Overload starves rare symbols by design: every pair that waited beyond a bound is in the report, with its rank.
"""

from __future__ import annotations

import heapq
import json
import math
import random
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import click

from bench.freshness.budget import BUFFER, Budget
from daemon.contracts import DataType, DemandChange, JobFinished, Outcome, Pair, Subscription
from daemon.refresh.demand import DemandBook
from daemon.refresh.estimates import Estimates, SessionLength
from daemon.refresh.policy import DueRules
from daemon.refresh.prices import ADAPT_SECONDS, FIRST_VIEW_SHARE, Allowance, Prices, first_view_chance
from daemon.refresh.timers import DueTimers

SLOTS = 4
LATENCY_SECONDS = 0.3
RESYNC_SECONDS = 60.0
"""The daemon reads the database's clock so often: a step of it is noticed after this at the latest."""
RETRIES = 3
STARVED_SECONDS = 900.0
"""A viewed pair that has been due for longer, without a failure of its own, counts as starved."""
PATIENCE = 12.0
"""A first view that waits for so many times what the lane gives it on average is starved: e^-12 is 6 in a million."""

_TYPES = (
    # name, TTL, bytes, calls of a job
    ("quote", 60.0, 2_000, 1),
    ("profile", 86_400.0, 5_000, 1),
    ("financial-statements", 30 * 86_400.0, 500_000, 3),
    ("ratios-ttm", 86_400.0, 50_000, 1),
    ("dividend-history", 90 * 86_400.0, 100_000, 1),
    ("shares-float", 86_400.0, 500, 1),
    ("revenue-segmentation", 365 * 86_400.0, 150_000, 1),
    ("grades-historical", 30 * 86_400.0, 30_000, 1),
    ("exchange-variants", 86_400.0, 80_000, 1),
    ("available-exchanges", 86_400.0, 10_000, 1),
    ("exchange-market-status", 300.0, 20_000, 1),
)
_AN_HOUR = int(3600 / ADAPT_SECONDS)
_SETTLED_HOURS = 20
"""A ratio of prices crosses its whole range of 1e-4 to 1e4 in a few hours; after this it has found its place."""
_SIZES = {name: (size, calls) for name, _, size, calls in _TYPES}
_START = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """Implements daemon.contracts.Clock: the database's time as the daemon believes it, and true seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.step = 0.0
        """By how much the database's clock is off the even course of time."""
        self.believed_step = 0.0

    def now(self) -> datetime:
        return _START + timedelta(seconds=self.seconds + self.believed_step)

    def database_now(self) -> datetime:
        return _START + timedelta(seconds=self.seconds + self.step)

    def monotonic(self) -> float:
        return self.seconds


@dataclass(slots=True)
class Job:
    """The open job of a pair."""

    pair: Pair
    queued_at: float
    first: bool
    gain: float
    ahead: int
    """First views that were there before it."""
    retries: int = 0
    not_before: float = 0.0
    running: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """How a call will end."""

    job: Job
    asked_at: datetime
    outcome: Outcome
    unreachable: bool


@dataclass(slots=True)
class State:
    """A row of refresh_state_v2."""

    fresh_until: datetime | None = None
    next_due_at: datetime | None = None
    failures: int = 0
    due_since: float | None = None
    """Since when it is viewed, past its TTL, and not in the back-off of its own failures."""


@dataclass(frozen=True, slots=True)
class Starved:
    """A pair that waited beyond the bound."""

    world: int
    symbol: str
    data_type: str
    waited_seconds: float
    bound_seconds: float
    rank: int
    """How many jobs were worth more for their cost when it was served, given up, or the world ended."""


@dataclass(slots=True)
class Report:
    """What all worlds came to."""

    hours: float = 0.0
    worlds: int = 0
    calls: int = 0
    worst_window_share: float = 0.0
    worst_bytes_share: float = 0.0
    staleness_with_ample_budget: float = 0.0
    longest_wait_with_ample_budget_seconds: float = 0.0
    largest_price_drift: float = 0.0
    restarts: int = 0
    clock_steps: int = 0
    outages: int = 0
    failures: int = 0
    starved: list[Starved] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Load:
    """What a world is like."""

    symbols: int
    calls_per_minute: int
    limits_bytes: bool
    bytes_per_30_days: float
    joins_per_second: float
    mean_session_seconds: float
    pages: tuple[tuple[str, ...], ...]
    disturbed: bool
    ample: bool


def random_load(chance: random.Random) -> Load:
    """Draw a world, from one with budget to spare to one that is asked for many times what it may spend."""
    ample = chance.random() < 1 / 3
    calls = 40 if ample else chance.choice([3, 6])
    names = [name for name, *_ in _TYPES]
    pages = tuple(("quote", *chance.sample(names[1:], chance.randint(0, 3))) for _ in range(3))
    viewers = chance.uniform(1, 4) if ample else calls * chance.uniform(1, 4)
    session = chance.choice([260.0, 900.0])
    return Load(
        symbols=chance.randint(20, 100),
        calls_per_minute=calls,
        limits_bytes=not ample and chance.random() < 1 / 2,
        bytes_per_30_days=calls * 43_200.0 * chance.choice([2_000.0, 10_000.0, 40_000.0]),
        joins_per_second=viewers / session,
        mean_session_seconds=session,
        pages=pages,
        disturbed=chance.random() < 1 / 2,
        ample=ample,
    )


class World:
    """One load, one seed, some hours.

    Args:
        number: Its number, for the report.
        load: What it is like.
        seed: Where its chance begins.
    """

    def __init__(self, number: int, load: Load, seed: int) -> None:
        self.clock = VirtualClock()
        self.report = Report(worlds=1)
        self._number, self._load = number, load
        self._chance = random.Random(seed)
        self._rules = DueRules()
        self._types = {
            name: DataType(name, name, "fmp", ttl, 1.0, is_global=False, enabled=True) for name, ttl, *_ in _TYPES
        }
        allowance = Allowance(load.calls_per_minute, load.bytes_per_30_days)
        self._budget = Budget(allowance, bytes_count=load.limits_bytes)
        self._states: dict[Pair, State] = {}
        self._jobs: dict[Pair, Job] = {}
        self._viewers: dict[Pair, int] = {}
        self._events: list[tuple[float, int, str, object]] = []
        self._order = count()
        self._running = 0
        self._is_down = False
        self._spent: deque[tuple[float, int]] = deque()
        self._in_window = 0
        self._bytes = 0.0
        self._looks = self._stale_looks = 0
        self._blocked_until = 0.0
        self._prices: list[float] = []
        self._estimates = Estimates(SessionLength(self.clock))
        self._popularity = [1 / rank for rank in range(1, load.symbols + 1)]
        self._start()

    def run(self, hours: float) -> Report:
        """Live so long, then look."""
        end = hours * 3600
        self._schedule(self._gap(self._load.joins_per_second), "join")
        self._schedule(ADAPT_SECONDS, "adapt")
        self._schedule(RESYNC_SECONDS, "resync")
        if self._load.disturbed:
            for kind in ("outage", "step", "restart", "burst"):
                self._schedule(self._gap(1 / 5_400), kind)
        while (at := min(self._events[0][0], self._timers.next_at() or math.inf)) <= end:
            self.clock.seconds = max(at, self.clock.seconds)
            if self._events[0][0] <= at:
                _, _, kind, what = heapq.heappop(self._events)
                getattr(self, f"_{kind}")(what)
            self._check_due()
            self._work()
        self._finish(hours)
        return self.report

    @property
    def prices(self) -> Prices:
        """The prices of now."""
        return self._budget.prices

    # --- the daemon --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Begin a life of the daemon: what it measured comes along, what it remembered does not."""
        self._book = DemandBook(lambda: self._types, lambda: self._estimates.session.mean_seconds, self.clock.monotonic)
        self._timers = DueTimers()
        if self._viewers:
            self._tell(dict(self._viewers))

    def _tell(self, viewers: dict[Pair, int], joined: int = 0, left: int = 0) -> None:
        some = Subscription("somebody", Pair("S", "quote"))
        change = DemandChange("viewers:0", viewers, joined=[some] * joined, left=[some] * left)
        self._estimates.session.note_demand(change)
        for pair in self._book.apply(change):
            self._timers.set(pair, self.clock.seconds)
        for pair, number in viewers.items():
            if number == 0:
                self._timers.drop(pair)
                self._drop(pair)
        for demand in self._book.demands(viewers):
            job = self._jobs.get(demand.pair)
            if job is not None and not job.running:
                job.gain = demand.gain

    def _drop(self, pair: Pair) -> None:
        """A pair nobody views any more is dropped."""
        job = self._jobs.get(pair)
        state = self._states.get(pair)
        if state is not None:
            state.due_since = None
        if job is not None and not job.running:
            self._judge(job)
            del self._jobs[pair]

    def _check_due(self) -> None:
        """What :class:`StalenessChecker` and ``check_and_queue_stale_pairs_v2`` do."""
        now = self.clock.monotonic()
        for pair in self._timers.take_due(now):
            if pair not in self._book:
                continue
            state = self._states.setdefault(pair, State())
            job = self._jobs.get(pair)
            if job is not None:
                self._timers.set(pair, now + 10.0)
            elif state.next_due_at is not None and state.next_due_at > self.clock.database_now():
                seconds = (state.next_due_at - self.clock.database_now()).total_seconds()
                self._timers.set(pair, now + seconds)
            else:
                self._queue(pair, state)
                self._timers.set(pair, now + 10.0)

    def _queue(self, pair: Pair, state: State) -> None:
        assert pair not in self._jobs, f"{pair} has two open jobs"
        (demand,) = self._book.demands([pair])
        ahead = sum(job.first and not job.running for job in self._jobs.values())
        first = state.fresh_until is None
        self._jobs[pair] = Job(pair, self.clock.seconds, first, demand.gain, ahead)
        if state.due_since is None:
            state.due_since = self.clock.seconds

    def _work(self) -> None:
        """What a claim does: the best by gain for the cost, a tenth of what is spent for the oldest first view."""
        now = self.clock.seconds
        while self._running < SLOTS and now >= self._blocked_until:
            waiting = [job for job in self._jobs.values() if not job.running and job.not_before <= now]
            if not waiting:
                return
            best = max(waiting, key=lambda job: (job.gain / self._cost(job), -job.queued_at))
            first = min((job for job in waiting if job.first), key=lambda job: job.queued_at, default=None)
            picked = best
            if first is not None and self._chance.random() < first_view_chance(self._cost(first), self._cost(best)):
                picked = first
            size, calls = _SIZES[picked.pair.data_type]
            if self._budget.calls_left(now) < calls or not self._budget.may_spend_bytes(now):
                self._blocked_until = max(self._budget.next_at(now, calls), now + 0.05)
                self._schedule(self._blocked_until - now, "look")
                return
            self._send(picked, size, calls)

    def _cost(self, job: Job) -> float:
        size, calls = _SIZES[job.pair.data_type]
        return self._budget.prices.cost(self._budget.allowance, calls, size)

    def _send(self, job: Job, size: int, calls: int) -> None:
        now = self.clock.seconds
        self._budget.spend(now, calls, size)
        self._count(now, calls, size)
        job.running = True
        self._running += 1
        if not job.failed:
            self._judge(job)
        asked_at = self.clock.now()
        unreachable = self._is_down or self._chance.random() < (0.02 if self._load.disturbed else 0.0)
        draw = self._chance.random() if self._load.disturbed else 1.0
        outcome = Outcome.FAILED if unreachable or draw < 0.01 else Outcome.EMPTY if draw < 0.03 else Outcome.CHANGED
        self._schedule(LATENCY_SECONDS, "answer", Answered(job, asked_at, outcome, unreachable))

    def _answer(self, what: object) -> None:
        assert isinstance(what, Answered)
        job, asked_at, outcome, unreachable = what.job, what.asked_at, what.outcome, what.unreachable
        self._running -= 1
        state = self._states.setdefault(job.pair, State())
        if self._jobs.get(job.pair) is not job:
            return  # the daemon died meanwhile: the effect came too late
        lead = self._estimates.lead(job.pair.data_type)
        lead.measure(LATENCY_SECONDS)
        if outcome is Outcome.FAILED:
            self.report.failures += 1
            state.due_since = None
            job.failed = True
            if job.retries < RETRIES:
                job.running = False
                job.not_before = self.clock.seconds + self._chance.random() * min(900.0, 5 * 2**job.retries)
                job.retries += 1
                self._schedule(job.not_before - self.clock.seconds, "look")
                return
            ttl = self._types[job.pair.data_type].ttl_seconds
            due = (
                self._rules.due_after_outage(asked_at, state.failures)
                if unreachable
                else self._rules.due_after_failure(asked_at, ttl, state.failures)
            )
            state.failures += 1
        else:
            ttl = self._types[job.pair.data_type].ttl_seconds
            state.fresh_until = self._rules.fresh_until(outcome, asked_at, ttl)
            due = self._rules.due_before(state.fresh_until, lead.seconds, ttl)
            state.failures, state.due_since = 0, None
        del self._jobs[job.pair]
        state.next_due_at = due
        finished = JobFinished(job.pair, outcome, due)
        if finished.pair in self._book:
            seconds = (finished.next_due_at - self.clock.now()).total_seconds()
            self._timers.set(finished.pair, self.clock.monotonic() + max(seconds, 0.0))

    # --- what happens ------------------------------------------------------------------------------------------------

    def _join(self, _what: object) -> None:
        self._schedule(self._gap(self._load.joins_per_second), "join")
        self._come()

    def _come(self) -> None:
        (rank,) = self._chance.choices(range(self._load.symbols), self._popularity)
        page = [Pair(f"S{rank}", name) for name in self._chance.choice(self._load.pages)]
        self._move(page, 1)
        self._schedule(self._gap(1 / self._load.mean_session_seconds), "leave", page)

    def _leave(self, what: object) -> None:
        assert isinstance(what, list)
        self._move(what, -1)

    def _move(self, page: list[Pair], by: int) -> None:
        now = {pair: self._viewers.get(pair, 0) + by for pair in page}
        for pair, number in now.items():
            if number:
                self._viewers[pair] = number
            else:
                del self._viewers[pair]
        self._tell(now, joined=len(page) if by > 0 else 0, left=len(page) if by < 0 else 0)

    def _burst(self, _what: object) -> None:
        self._schedule(self._gap(1 / 5_400), "burst")
        for _ in range(self._chance.randint(5, 40)):
            self._come()

    def _outage(self, _what: object) -> None:
        self._is_down = not self._is_down
        self.report.outages += self._is_down
        self._schedule(self._gap(1 / 60 if self._is_down else 1 / 5_400), "outage")

    def _step(self, _what: object) -> None:
        """The database's clock jumps, now and then by hours."""
        self.report.clock_steps += 1
        self.clock.step += self._chance.uniform(-1, 1) * self._chance.choice([1.0, 60.0, 600.0, 7_200.0])
        self._schedule(self._gap(1 / 5_400), "step")

    def _resync(self, _what: object) -> None:
        self.clock.believed_step = self.clock.step
        self._schedule(RESYNC_SECONDS, "resync")

    def _restart(self, _what: object) -> None:
        """The daemon dies and lives again: what ran is claimed again, and what it measured is what it was."""
        self.report.restarts += 1
        self._schedule(self._gap(1 / 5_400), "restart")
        known = list(self._estimates.known())
        self._estimates = Estimates(SessionLength(self.clock))
        self._estimates.restore(known)
        self.clock.believed_step = self.clock.step
        for pair, job in list(self._jobs.items()):
            if job.running:
                again = Job(pair, job.queued_at, job.first, job.gain, job.ahead, job.retries, failed=True)
                self._jobs[pair] = again
        self._start()

    def _adapt(self, _what: object) -> None:
        self._sample()
        self._budget.adapt(self.clock.seconds)
        prices = self._budget.prices
        assert prices.calls <= 1 and 1e-4 <= max(prices.calls, prices.bytes) <= 1  # noqa: PT018 - one statement on both
        if self._load.limits_bytes:
            self._prices.append(math.log(prices.calls / prices.bytes))
        self._schedule(ADAPT_SECONDS, "adapt")

    def _look(self, _what: object) -> None:
        """A claim is tried again."""

    # --- the books ---------------------------------------------------------------------------------------------------

    def _count(self, now: float, calls: int, size: float) -> None:
        """Count on our own what any 60 seconds have seen, and all bytes."""
        while self._spent and self._spent[0][0] <= now - 60.0:
            self._in_window -= self._spent.popleft()[1]
        self._spent.append((now, calls))
        self._in_window += calls
        self._bytes += size
        self.report.calls += calls
        share = self._in_window / self._load.calls_per_minute
        self.report.worst_window_share = max(self.report.worst_window_share, share)
        if self._load.limits_bytes:
            paced = self._load.bytes_per_30_days * BUFFER * now / 2_592_000.0
            ahead = max(size for _, _, size, _ in _TYPES) * SLOTS
            self.report.worst_bytes_share = max(self.report.worst_bytes_share, self._bytes / (paced + ahead))

    def _sample(self) -> None:
        """Look who sees stale data now."""
        now = self.clock.database_now()
        for pair, viewers in self._viewers.items():
            state = self._states.get(pair)
            self._looks += viewers
            if state is None or state.fresh_until is None or state.fresh_until <= now:
                self._stale_looks += viewers

    def _judge(self, job: Job) -> None:
        """A job that waited too long is in the report, whatever becomes of it now."""
        waited = self.clock.seconds - job.queued_at
        if self._load.ample and not self._load.disturbed:
            longest = self.report.longest_wait_with_ample_budget_seconds
            self.report.longest_wait_with_ample_budget_seconds = max(longest, waited)
        bound = self._bound(job)
        if waited > bound:
            index = job.gain / self._cost(job)
            rank = sum(other.gain / self._cost(other) > index for other in self._jobs.values() if not other.running)
            starved = Starved(self._number, job.pair.symbol, job.pair.data_type, waited, bound, rank)
            self.report.starved.append(starved)

    def _bound(self, job: Job) -> float:
        """For a first view what the lane gives, many times over: itself and those ahead, a tenth of what is spent."""
        if not job.first:
            return STARVED_SECONDS
        size, calls = _SIZES[job.pair.data_type]
        seconds_per_call = 62.0 / self._load.calls_per_minute * calls
        if self._load.limits_bytes:
            pace = self._load.bytes_per_30_days * BUFFER / 2_592_000.0
            seconds_per_call = max(seconds_per_call, size / pace)
        return PATIENCE * (job.ahead + 1) * seconds_per_call / FIRST_VIEW_SHARE + 120.0

    def _finish(self, hours: float) -> None:
        for job in self._jobs.values():
            if not job.running and not job.failed:
                self._judge(job)
        self.report.hours = hours
        if self._load.ample and not self._load.disturbed:
            self.report.staleness_with_ample_budget = self._stale_looks / max(self._looks, 1)
        if len(self._prices) >= _SETTLED_HOURS * _AN_HOUR and not self._load.disturbed:
            before, last = (sum(self._prices[-at * _AN_HOUR :][:_AN_HOUR]) / _AN_HOUR for at in (2, 1))
            self.report.largest_price_drift = abs(last - before)

    def _schedule(self, seconds: float, kind: str, what: object = None) -> None:
        heapq.heappush(self._events, (self.clock.seconds + seconds, next(self._order), kind, what))

    def _gap(self, rate: float) -> float:
        return self._chance.expovariate(rate)


def simulate(hours: float, hours_per_world: float, seed: int) -> Report:
    """Simulate so many hours, and put all worlds into one report."""
    chance, total = random.Random(seed), Report()
    while total.hours < hours:
        report = World(total.worlds, random_load(chance), chance.getrandbits(32)).run(hours_per_world)
        for name in ("hours", "worlds", "calls", "restarts", "clock_steps", "outages", "failures", "starved"):
            setattr(total, name, getattr(total, name) + getattr(report, name))
        for name in asdict(report):
            if name.startswith(("worst", "largest", "staleness", "longest")):
                setattr(total, name, max(getattr(total, name), getattr(report, name)))
    return total


@click.command(help=__doc__)
@click.option("--hours", default=10_000.0, show_default=True, help="Simulated hours.")
@click.option("--hours-per-world", default=24.0, show_default=True, help="After so long another load begins.")
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the report, every starved pair too.")
def main(hours: float, hours_per_world: float, seed: int, json_file: Path | None) -> None:
    """Simulate, and say what was found; the exit code is 1 where a budget was overshot."""
    began = time.monotonic()
    report = simulate(hours, hours_per_world, seed)
    click.echo(f"seed {seed}: {report.hours:,.0f} hours in {report.worlds:,} worlds, {time.monotonic() - began:.0f} s")
    for name, value in asdict(report).items():
        if name not in {"starved", "hours", "worlds"}:
            click.echo(f"{name.replace('_', ' '):>42}  {value:,.4g}")
    first = sum(starved.bound_seconds != STARVED_SECONDS for starved in report.starved)
    click.echo(f"{'starved':>42}  {len(report.starved):,} waits, {first:,} of them of first views")
    for starved in sorted(report.starved, key=lambda one: -one.waited_seconds)[:10]:
        click.echo(
            f"    world {starved.world}: {starved.symbol} {starved.data_type} waited {starved.waited_seconds:,.0f} s"
            f" (bound {starved.bound_seconds:,.0f} s), {starved.rank} worth more"
        )
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(report), indent=1) + "\n")
    if report.worst_window_share > 1 or report.worst_bytes_share > 1:
        raise SystemExit("a budget was overshot")


if __name__ == "__main__":
    main()
