"""Seeded randomness: what is drawn depends on the words alone, never on when or how often somebody asks."""

from __future__ import annotations

import math
import random
from itertools import accumulate


def seeded(*words: str | int) -> random.Random:
    """Return a generator of its own for these words, the same in every process."""
    return random.Random(":".join(map(str, words)))


def bridge(rng: random.Random, steps: int, step_deviation: float, start: float, end: float) -> list[float]:
    """Return ``steps`` + 1 points of a random walk that begins at ``start`` and is tilted to finish at ``end``.

    The single step is uniform, which is cheap to draw; the sum of many is as good as normal.
    """
    width = step_deviation * math.sqrt(12)
    walk = list(accumulate(((rng.random() - 0.5) * width for _ in range(steps)), initial=start))
    tilt = (end - walk[-1]) / steps
    return [point + index * tilt for index, point in enumerate(walk)]
