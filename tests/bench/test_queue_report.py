"""Medians, ratios and goals of the queue's benchmark."""

from __future__ import annotations

import pytest

from bench.queue_report import OWN, RIVAL, Samples, Scale, build_result, percentiles_ms
from bench.results import Goal

DRAIN = "drain of 20,000 per s"
ENQUEUE = "enqueue by 1,000 per s"
START = "start p50 ms"


def samples(*, drain: float = 1.0, start: float = 0.7) -> Samples:
    """Return two rounds, on a machine that was twice as fast in the second, with these ratios to the rival."""
    made = Samples()
    for speed in (1_000.0, 2_000.0):
        for what, who, ratio in (
            (DRAIN, OWN, drain),
            (ENQUEUE, OWN, 1.5),
            (ENQUEUE, f"{OWN}, pairs never seen", 0.9),
            (START, OWN, start),
            (START, f"{OWN}, no linger", 0.5),
        ):
            made.note(what, who, ratio * speed)
        for what in (DRAIN, ENQUEUE, START):
            made.note(what, RIVAL, speed)
    return made


def scale(*, deepest: float = 2.0, history: float = 1.0, sweep: float = 0.5, check: float = 1.0) -> Scale:
    return Scale(
        backlogs=(1_000, 250_000),
        completed=1_000_000,
        pairs=20_000,
        claims_ms={"1,000 pending": 1.0, "250,000 pending": deepest, "history": history},
        sweeps_seconds={"all due": sweep, "none due": 0.01},
        budgets={"quota check p50 ms, first day": 0.5, "quota check p50 ms, 13,000,000 attempts later": check},
    )


def goals(samples: Samples, scale: Scale) -> dict[str, Goal]:
    return {goal.name: goal for goal in build_result(samples, (DRAIN,), scale).goals}


def test_a_ratio_compares_each_round_within_itself() -> None:
    uneven = Samples({DRAIN: {OWN: [100.0, 900.0, 300.0], RIVAL: [50.0, 450.0, 300.0]}})

    assert uneven.ratio(DRAIN, OWN) == 2.0


def test_a_ratio_of_rounds_that_are_missing_is_refused() -> None:
    uneven = Samples({DRAIN: {OWN: [100.0], RIVAL: [50.0, 450.0]}})

    with pytest.raises(ValueError, match="zip"):
        uneven.ratio(DRAIN, OWN)


def test_what_is_exactly_reached_is_met() -> None:
    reached = goals(samples(), scale())

    assert reached[f"{DRAIN}: {OWN}"] == Goal(f"{DRAIN}: {OWN}", ">= 1.0 x pgqueuer", 1.0, met=True)
    assert reached[f"start p50: {OWN}"].met
    assert reached["claim at 250,000 pending"].met


def test_what_is_missed_is_reported_with_its_measure() -> None:
    missed = goals(samples(drain=0.99, start=0.71), scale(deepest=2.1, history=1.1, sweep=1.0, check=2.0))

    assert not any(
        goal.met for name, goal in missed.items() if name not in {f"{ENQUEUE}: {OWN}", f"start p50: {OWN}, no linger"}
    )
    assert missed[f"{DRAIN}: {OWN}"].measured == pytest.approx(0.99)
    assert missed["slowest sweep of 20,000 pairs, s"].measured == 1.0


def test_the_result_shows_every_situation_by_its_name() -> None:
    result = build_result(samples(), (DRAIN,), scale())

    assert result.figures["claim of 100 p50 ms, 1,000 pending, 1,000,000 completed"] == 1.0
    assert result.figures["sweep of 20,000 pairs s, all due"] == 0.5
    assert result.figures[f"{DRAIN}: {RIVAL}"] == 1_500.0
    assert f"{DRAIN}: {RIVAL} / {RIVAL}" not in result.ratios


def test_percentiles_are_milliseconds() -> None:
    assert percentiles_ms([0.001] * 50 + [0.003] * 50) == pytest.approx((2.0, 3.0))
