"""From what was measured of the fetchers to the result: medians, ratios and goals. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.results import Goal, Result

LEAST_RATIO = 3.0
MOST_UPSERT_MS = 20.0
MOST_MEMORY_MB = 20.0


@dataclass(frozen=True, slots=True)
class Decoding:
    """Microseconds for a record of one data type, one value for each round."""

    ours: Sequence[float]
    pydantic: Sequence[float]

    @property
    def ratio(self) -> float:
        """How many times faster ours is: the median over the rounds, each compared within itself."""
        return median(theirs / ours for ours, theirs in zip(self.ours, self.pydantic, strict=True))


def build_result(
    decodings: Mapping[str, Decoding], upserts_ms: Sequence[float], memory_mb: Mapping[str, float]
) -> Result:
    """Join everything into what is published."""
    figures: dict[str, float | None] = {}
    for name, decoding in decodings.items():
        figures[f"{name}: us per record"] = median(decoding.ours)
        figures[f"{name}: us per record, pydantic"] = median(decoding.pydantic)
    upsert = median(upserts_ms)
    figures["upsert of 500 quotes p50 ms"] = upsert
    figures |= {f"{name}: MB above idle at 2 MiB": value for name, value in memory_mb.items()}
    ratios = {f"{name}: pydantic / refreshd": decoding.ratio for name, decoding in decodings.items()}
    goals = [Goal(name, f">= {LEAST_RATIO:g}", ratio, ratio >= LEAST_RATIO) for name, ratio in ratios.items()]
    goals.append(Goal("upsert of 500 quotes p50 ms", f"< {MOST_UPSERT_MS:g}", upsert, upsert < MOST_UPSERT_MS))
    goals += [
        Goal(f"{name}: MB above idle at 2 MiB", f"< {MOST_MEMORY_MB:g}", value, value < MOST_MEMORY_MB)
        for name, value in memory_mb.items()
    ]
    return Result("fetchers", figures, ratios, tuple(goals))
