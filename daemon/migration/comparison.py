"""Two measures side by side: what has become of freshness, calls and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from daemon.store.baselines import Measure, TypeMeasure, Usage


@dataclass(frozen=True, slots=True)
class Line:
    """One data type before and after."""

    data_type: str
    before: TypeMeasure | None
    after: TypeMeasure | None

    @property
    def freshness_change(self) -> float | None:
        """By how much the share of fresh pairs has grown; None where one of the two is not known."""
        shares = [measure.fresh_share if measure else None for measure in (self.before, self.after)]
        return None if shares[0] is None or shares[1] is None else shares[1] - shares[0]


def compare(before: Measure, after: Measure) -> Iterator[Line]:
    """Yield every type of either measure, in the order of the newer one."""
    names = dict.fromkeys(measure.data_type for measure in (*after.types, *before.types))
    for name in names:
        yield Line(name, before.of(name), after.of(name))


def calls_a_day(usage: Usage) -> int:
    """Return the calls of a day: as the operator told them, else as they were metered."""
    return usage.calls_in_24_hours if usage.told_calls_a_day is None else usage.told_calls_a_day


def bytes_a_day(usage: Usage) -> int:
    """Return the bytes of a day, in the same way."""
    return usage.bytes_in_24_hours if usage.told_bytes_a_day is None else usage.told_bytes_a_day
