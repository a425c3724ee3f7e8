"""How jobs end, counted for Prometheus. Labels are data types and fixed sets of words."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Counter, Histogram, Metric
from prometheus_client.registry import Collector

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class JobWatch(Collector):
    """Counts what became of the jobs of this process; register it to have it shown."""

    def __init__(self) -> None:
        self._ends = Counter(
            "refreshd_jobs_finished",
            "Jobs that came to an end here, by outcome; lost ones had lost their lease, retried ones come again",
            ["data_type", "outcome"],
            registry=None,
        )
        self._seconds = Histogram(
            "refreshd_job_seconds", "From claim to commit", ["data_type"], buckets=BUCKETS, registry=None
        )

    def note(self, data_type: str, verdict: str, outcome: str, seconds: float) -> None:
        """Take in the end of a job: ``completed`` and ``failed`` by outcome, ``retry``, ``reset``, ``lost`` as such."""
        self._ends.labels(data_type, outcome if verdict in {"completed", "failed"} else verdict).inc()
        self._seconds.labels(data_type).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield everything."""
        yield from self._ends.collect()
        yield from self._seconds.collect()
