"""What the processor sees of the upstream, as Prometheus reads it. Labels are data types and fixed sets of words."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from daemon.processor.drift import DriftWatch


class DriftCollector(Collector):
    """Reads at every scrape how often good answers were odd.

    Args:
        drift: Counts them.
    """

    def __init__(self, drift: DriftWatch) -> None:
        self._drift = drift

    def collect(self) -> Iterator[Metric]:
        """Yield the one counter."""
        counter = CounterMetricFamily(
            "refreshd_upstream_oddities",
            "Records of good answers in which something was odd, by data type and kind",
            labels=["data_type", "kind"],
        )
        for (data_type, kind), records in sorted(self._drift.counts.items()):
            counter.add_metric([data_type, kind], records)
        yield counter
