"""From what was measured to the result: medians, ratios and goals. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median, quantiles

from bench.results import Goal, Result

OWN = "refreshd"
RIVAL = "pgqueuer"


@dataclass(slots=True)
class Samples:
    """Measurements by what was measured and by whom; one value for each round."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def note(self, what: str, who: str, *values: float) -> None:
        """Take in measurements."""
        self.values.setdefault(what, {}).setdefault(who, []).extend(values)

    def figures(self) -> dict[str, float | None]:
        """Return the median of everything."""
        return {f"{what}: {who}": median(values) for what, by in self.values.items() for who, values in by.items()}

    def ratio(self, what: str, who: str) -> float:
        """Return how many times the rival's value it is: the median over the rounds, each compared within itself."""
        rounds = zip(self.values[what][who], self.values[what][RIVAL], strict=True)
        return median(value / rival for value, rival in rounds)


@dataclass(frozen=True, slots=True)
class Scale:
    """What was measured on our own queue alone, by situation."""

    backlogs: tuple[int, ...]
    completed: int
    pairs: int
    claims_ms: Mapping[str, float]
    sweeps_seconds: Mapping[str, float]
    budgets: Mapping[str, float]


def percentiles_ms(seconds: list[float]) -> tuple[float, float]:
    """Return p50 and p99 in milliseconds."""
    cuts = quantiles(seconds, n=100, method="inclusive")
    return 1000 * cuts[49], 1000 * cuts[98]


def build_result(samples: Samples, drains: tuple[str, ...], scale: Scale) -> Result:
    """Join everything into what is published."""
    least, most = (f"{jobs:,} pending" for jobs in (scale.backlogs[0], scale.backlogs[-1]))
    history = scale.claims_ms["history"] / scale.claims_ms[least]
    figures = samples.figures()
    figures |= {f"claim of 100 p50 ms, {name}": value for name, value in _claims(scale, least).items()}
    figures |= {f"sweep of {scale.pairs:,} pairs s, {name}": value for name, value in scale.sweeps_seconds.items()}
    figures |= scale.budgets
    ratios = {
        f"{what}: {who} / {RIVAL}": samples.ratio(what, who)
        for what, by in samples.values.items()
        for who in by
        if who != RIVAL and RIVAL in by
    }
    ratios[f"claim, {most} / {least}"] = scale.claims_ms[most] / scale.claims_ms[least]
    ratios[f"claim, {scale.completed:,} completed / none"] = history
    goals = [_at_least(what, OWN, samples) for what in drains]
    goals += [_at_least("enqueue by 1,000 per s", who, samples) for who in (OWN, f"{OWN}, pairs never seen")]
    goals += [_latency(who, samples) for who in (OWN, f"{OWN}, no linger")]
    goals += _own_goals(scale, scale.claims_ms[most] / scale.claims_ms[least], history)
    return Result("queue", figures, ratios, tuple(goals))


def _claims(scale: Scale, least: str) -> dict[str, float]:
    renamed = f"{least}, {scale.completed:,} completed"
    return {renamed if name == "history" else name: value for name, value in scale.claims_ms.items()}


def _at_least(what: str, who: str, samples: Samples) -> Goal:
    ratio = samples.ratio(what, who)
    return Goal(f"{what}: {who}", f">= 1.0 x {RIVAL}", ratio, ratio >= 1.0)


def _latency(who: str, samples: Samples) -> Goal:
    ratio = samples.ratio("start p50 ms", who)
    return Goal(f"start p50: {who}", f"<= 0.7 x {RIVAL}", ratio, ratio <= 0.7)


def _own_goals(scale: Scale, depth: float, history: float) -> list[Goal]:
    slowest = max(scale.sweeps_seconds.values())
    check = max(value for name, value in scale.budgets.items() if name.startswith("quota check"))
    most, least = scale.backlogs[-1], scale.backlogs[0]
    return [
        Goal(f"claim at {most:,} pending", f"<= 2 x at {least:,}", depth, depth <= 2),
        Goal(f"claim beside {scale.completed:,} completed", "< 1.1 x without", history, history < 1.1),
        Goal(f"slowest sweep of {scale.pairs:,} pairs, s", "< 1", slowest, slowest < 1),
        Goal("quota check ms", "< 2", check, check < 2),
    ]
