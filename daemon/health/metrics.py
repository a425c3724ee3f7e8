"""What the daemon looks up every few seconds, as Prometheus reads it. All labels come from fixed, small sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from daemon import __version__
from daemon.contracts import Clock, Flags, Verdict
from daemon.health.judge import Timed
from daemon.health.vitals import Snapshot
from daemon.store.vitals import TypeFreshness

BREAKER_STATES = ("closed", "open", "half_open")

_FRESHNESS: Sequence[tuple[str, str, Callable[[TypeFreshness], float]]] = (
    ("viewed_pairs", "Pairs that somebody looks at through this daemon", lambda row: row.pairs),
    ("viewed_pairs_fresh", "Those of them that are fresh", lambda row: row.fresh_pairs),
    ("viewed_pairs_never_fresh", "Those of them that were never fetched", lambda row: row.never_fresh_pairs),
    ("viewers", "Viewers, counted once for every pair that they look at", lambda row: row.viewers),
    ("viewers_fresh", "Those of them who see fresh data", lambda row: row.fresh_viewers),
)  # fmt: skip
_UPSTREAMS: Sequence[tuple[str, str, str]] = (
    ("budget_calls_used", "Calls of the last 62 seconds, reserved ones included", "calls_in_window"),
    ("budget_calls_limit", "Calls that the plan allows in a minute", "calls_per_minute"),
    ("budget_bytes_used", "Bytes of the last 30 days, reserved ones included", "bytes_in_30_days"),
    ("budget_bytes_limit", "Bytes that the plan allows in 30 days; 95 % are used", "bytes_per_30_days"),
    ("budget_bytes_paced", "Bytes that may be spent at once without running ahead of the pace", "bytes_paced"),
    ("price_calls", "What a call costs when jobs are ordered", "price_calls"),
    ("price_bytes", "What the bytes cost that the budgets leave for one call", "price_bytes"),
)


class VitalsCollector(Collector):
    """Shows the latest look at queue, budgets, breaker and freshness, and how the parts and the database pool are.

    Args:
        clock: Monotonic seconds.
        snapshot: Gives the latest look; None before the first.
        flags: Gives the flags as last read.
        timed: The parts that do something again and again.
        ready: Whether the daemon is fit for work.
        alive: Whether every part gives signs of life.
        connections: Gives busy and idle connections to PostgreSQL, and how many there may be.
        log_lines: Gives how many log lines could not be written, and how many were left out in a flood.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        snapshot: Callable[[], Snapshot | None],
        flags: Callable[[], Flags],
        timed: Sequence[Timed],
        ready: Callable[[], Verdict],
        alive: Callable[[], Verdict],
        connections: Callable[[], tuple[int, int, int]],
        log_lines: Callable[[], tuple[int, int]],
    ) -> None:
        self._clock = clock
        self._snapshot = snapshot
        self._flags = flags
        self._timed = timed
        self._ready = ready
        self._alive = alive
        self._connections = connections
        self._log_lines = log_lines

    def collect(self) -> Iterator[Metric]:
        """Yield everything that is known."""
        yield _gauge("build_info", "1, and which version this is", ["version"], [([__version__], 1.0)])
        yield _gauge("alive", "1 while every part gives signs of life", [], [([], self._alive().is_good)])
        yield _gauge("ready", "1 while the daemon is fit for work", [], [([], self._ready().is_good)])
        flags = [([name], enabled) for name, enabled in self._flags().by_name().items()]
        yield _gauge("flag", "1 where a feature flag is on", ["flag"], flags)
        yield from self._collect_parts()
        yield from self._collect_pool()
        yield from self._collect_log()
        snapshot = self._snapshot()
        if snapshot is not None:
            age = self._clock.monotonic() - snapshot.taken_at
            yield _gauge("vitals_age_seconds", "Age of what follows, looked up every 10 s", [], [([], age)])
            yield from _freshness(snapshot)
            yield from _queue(snapshot)
            yield from _upstreams(snapshot.queue.upstreams)
            oldest = snapshot.oldest_snapshot_seconds
            yield _gauge("oldest_snapshot_seconds", "How long the oldest snapshot has been held", [], [([], oldest)])
            yield from _cron(snapshot)

    def _collect_parts(self) -> Iterator[Metric]:
        now = self._clock.monotonic()
        ages = [([p.name], now - p.last_success_monotonic) for p in self._timed if p.last_success_monotonic is not None]
        intervals = [([part.name], part.interval_seconds) for part in self._timed]
        yield _gauge("part_last_success_seconds", "How long ago a periodic part last succeeded", ["part"], ages)
        yield _gauge("part_interval_seconds", "How far apart the turns of a periodic part are", ["part"], intervals)

    def _collect_pool(self) -> Iterator[Metric]:
        busy, idle, most = self._connections()
        samples = [(["busy"], float(busy)), (["idle"], float(idle))]
        yield _gauge("database_connections", "Open connections to PostgreSQL", ["state"], samples)
        yield _gauge("database_connections_limit", "How many there may be", [], [([], most)])

    def _collect_log(self) -> Iterator[Metric]:
        lost, suppressed = self._log_lines()
        yield CounterMetricFamily("refreshd_log_lines_lost", "Log lines that could not be written", value=lost)
        yield CounterMetricFamily("refreshd_log_lines_suppressed", "Log lines left out in a flood", value=suppressed)


def _freshness(snapshot: Snapshot) -> Iterator[Metric]:
    for name, text, value in _FRESHNESS:
        yield _gauge(name, text, ["data_type"], [([row.data_type], value(row)) for row in snapshot.freshness])
    if snapshot.staleness is not None:
        text = "S: the share of viewers, counted once for every pair, who see stale data"
        yield _gauge("staleness", text, [], [([], snapshot.staleness)])


def _queue(snapshot: Snapshot) -> Iterator[Metric]:
    types = snapshot.queue.types
    jobs = [([row["data_type"], status], row[status]) for row in types for status in ("pending", "processing")]
    yield _gauge("queue_jobs", "Open jobs, of all daemons together", ["data_type", "status"], jobs)
    later = [([row["data_type"]], row["waiting"]) for row in types]
    yield _gauge("queue_jobs_later", "Pending jobs whose time has not come, after a failure", ["data_type"], later)
    oldest = [([row["data_type"]], row["oldest_seconds"]) for row in types if row["oldest_seconds"] is not None]
    yield _gauge("queue_oldest_pending_seconds", "Age of the oldest pending job", ["data_type"], oldest)
    overdue = snapshot.queue.longest_overdue
    seconds = 0.0 if overdue is None else overdue["seconds"]
    yield _gauge("longest_overdue_seconds", "For how long a viewed pair has been due at most", [], [([], seconds)])


def _upstreams(upstreams: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    for name, text, column in _UPSTREAMS:
        samples = [([row["upstream"]], row[column]) for row in upstreams if row[column] is not None]
        yield _gauge(name, text, ["upstream"], samples)
    states = [([r["upstream"], state], r["breaker_state"] == state) for r in upstreams for state in BREAKER_STATES]
    yield _gauge("breaker_state", "1 for the state in which the breaker is", ["upstream", "state"], states)
    paused = [([row["upstream"]], row["paused_until"] is not None) for row in upstreams]
    yield _gauge("upstream_paused", "1 while the upstream has asked for a pause", ["upstream"], paused)


def _cron(snapshot: Snapshot) -> Iterator[Metric]:
    if snapshot.cron_jobs is None:
        return
    failed = sum(job.active and job.status == "failed" for job in snapshot.cron_jobs)
    yield _gauge("cron_jobs", "Active jobs of pg_cron", [], [([], sum(job.active for job in snapshot.cron_jobs))])
    yield _gauge("cron_jobs_failed", "Those of them whose last run failed", [], [([], failed)])


def _gauge(
    name: str, text: str, labels: Sequence[str], samples: Sequence[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"refreshd_{name}", text, labels=list(labels))
    for values, value in samples:
        family.add_metric(list(values), float(value))
    return family
