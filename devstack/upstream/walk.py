"""Seeded randomness: what is drawn depends on the words alone, never on when or how often somebody asks."""

from __future__ import annotations

import random
from itertools import accumulate


def seeded(*words: str | int) -> random.Random:
    """Return a generator of its own for these words, the same in every process."""
    return random.Random(":".join(map(str, words)))


def bridge(rng: random.Random, steps: int, step_deviation: float, start: float, end: float) -> list[float]:
    """Return ``steps`` + 1 points of a random walk that begins at ``start`` and is tilted to finish at ``end``."""
    walk = list(accumulate((rng.gauss(0.0, step_deviation) for _ in range(steps)), initial=start))
    tilt = (end - walk[-1]) / steps
    return [point + index * tilt for index, point in enumerate(walk)]
