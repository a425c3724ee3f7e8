"""From what was read of the daemons to the result: medians, ratios and goals. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from bench.results import Goal, Result
from daemon.store.database import COMMAND_TIMEOUT_SECONDS

MOST_GROWTH = 1.2
"""A cost at the deepest backlog that is no larger than this many times that at the least deep one does not grow."""


class Situation(NamedTuple):
    """What was measured: one data type, a depth, and a number of daemons."""

    data_type: str
    depth: int
    daemons: int

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.data_type}, {self.depth:,} pending, {self.daemons} process{'es' * (self.daemons > 1)}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What daemons did between two moments, all of them together; memory is that of the largest."""

    jobs: int
    calls: int
    seconds: float
    daemon_cpu_seconds: float
    postgres_cpu_seconds: float
    memory_at_start_mb: float
    memory_peak_mb: float

    @property
    def jobs_per_second(self) -> float:
        """Of all daemons together."""
        return self.jobs / self.seconds

    @property
    def daemon_microseconds(self) -> float:
        """What a job costs the daemon in CPU."""
        return 1e6 * self.daemon_cpu_seconds / self.jobs

    @property
    def postgres_microseconds(self) -> float:
        """What a job costs PostgreSQL in CPU."""
        return 1e6 * self.postgres_cpu_seconds / self.jobs


Readings = Mapping[Situation, Sequence[Reading]]
"""By situation, a reading of each round, in their order."""


def within_rounds(readings: Readings, above: Situation, below: Situation, what: str) -> float:
    """Return the median over the rounds of how many times the one is the other, each round compared within itself."""
    rounds = zip(readings[above], readings[below], strict=True)
    return median(float(getattr(one, what) / getattr(other, what)) for one, other in rounds)


@dataclass(frozen=True, slots=True)
class Alone:
    """What was measured while no daemon ran.

    ``claims_ms`` and ``sweeps_seconds`` go by the name of the backlog, ``quote, 1,000 pending``; ``upstreams_ms`` is
    what an answer costs the upstreams, by name.
    """

    claims_ms: Mapping[str, float]
    sweeps_seconds: Mapping[str, float]
    upstreams_ms: Mapping[str, float]


def build_result(readings: Readings, alone: Alone) -> Result:
    """Join everything into what is published; there are as many readings of every situation."""
    figures: dict[str, float | None] = {}
    for situation, read in sorted(readings.items(), key=lambda item: (item[0].data_type, item[0])):
        figures |= {f"{situation.name}: {name}": value for name, value in _figures(situation, read).items()}
    figures |= {f"claim p50 ms: {name}": value for name, value in alone.claims_ms.items()}
    figures |= {f"sweep s: {name}": value for name, value in alone.sweeps_seconds.items()}
    figures |= alone.upstreams_ms
    growth = _growth(readings) | _claim_growth(readings, alone.claims_ms)
    goals = [Goal(name, f"<= {MOST_GROWTH}", ratio, ratio <= MOST_GROWTH) for name, ratio in growth.items()]
    slowest = max(alone.sweeps_seconds.values())
    given_up = f"< {COMMAND_TIMEOUT_SECONDS:g}, when it is given up"
    goals.append(Goal("slowest sweep, s", given_up, slowest, slowest < COMMAND_TIMEOUT_SECONDS))
    return Result("throughput", figures, growth | _gain_of_two(readings), tuple(goals))


def _figures(situation: Situation, readings: Sequence[Reading]) -> dict[str, float]:
    per_second = median(reading.jobs_per_second for reading in readings)
    return {
        "jobs per s": per_second,
        "jobs per call": median(reading.jobs / reading.calls for reading in readings),
        "jobs per s and process": per_second / situation.daemons,
        "daemon CPU us per job": median(reading.daemon_microseconds for reading in readings),
        "PostgreSQL CPU us per job": median(reading.postgres_microseconds for reading in readings),
        "memory at start MB": median(reading.memory_at_start_mb for reading in readings),
        "memory peak MB": max(reading.memory_peak_mb for reading in readings),
    }


def _growth(readings: Readings) -> dict[str, float]:
    """Return how the costs of a job at the deepest backlog compare to those at the least deep one."""
    growth = {}
    for data_type, daemons in sorted({(situation.data_type, situation.daemons) for situation in readings}):
        least, most = (Situation(data_type, depth, daemons) for depth in _ends(readings))
        about = f"{data_type}, {daemons} process{'es' * (daemons > 1)}, {most.depth:,} / {least.depth:,} pending"
        growth[f"daemon CPU: {about}"] = within_rounds(readings, most, least, "daemon_microseconds")
        growth[f"PostgreSQL CPU: {about}"] = within_rounds(readings, most, least, "postgres_microseconds")
    return growth


def _claim_growth(readings: Readings, claims_ms: Mapping[str, float]) -> dict[str, float]:
    least, most = _ends(readings)
    return {
        f"claim: {data_type}, {most:,} / {least:,} pending": (
            claims_ms[f"{data_type}, {most:,} pending"] / claims_ms[f"{data_type}, {least:,} pending"]
        )
        for data_type in sorted({situation.data_type for situation in readings})
    }


def _gain_of_two(readings: Readings) -> dict[str, float]:
    return {
        f"jobs per s, 2 / 1 processes: {one.data_type}, {one.depth:,} pending": within_rounds(
            readings, one._replace(daemons=2), one, "jobs_per_second"
        )
        for one in sorted(readings)
        if one.daemons == 1
    }


def _ends(readings: Readings) -> tuple[int, int]:
    depths = {situation.depth for situation in readings}
    return min(depths), max(depths)
