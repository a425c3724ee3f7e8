"""How far the migration is, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from daemon.migration.gates import BROKEN
from daemon.migration.phases import WORDS
from daemon.store.moves import Move


class MoveCollector(Collector):
    """Shows phases and gates.

    Args:
        moves: Gives every type as it was found last.
    """

    def __init__(self, moves: Callable[[], Sequence[Move]]) -> None:
        self._moves = moves

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        phases = GaugeMetricFamily(
            "refreshd_migration_types", "Data types by phase of their migration", labels=("phase",)
        )
        broken = GaugeMetricFamily(
            "refreshd_migration_gates_broken", "Broken gates of a watched data type", labels=("data_type",)
        )
        moves = self._moves()
        for phase in WORDS:
            phases.add_metric((phase,), sum(move.phase == phase for move in moves))
        for move in moves:
            if move.phase == "watched":
                broken.add_metric((move.data_type,), sum(check["state"] == BROKEN for check in move.checks))
        yield from (phases, broken)
