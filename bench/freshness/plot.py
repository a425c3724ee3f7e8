"""The one picture: S against viewers, for every policy and the bound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

from bench.freshness.orders import EVENTS, INDEX, MINUTES, POLL_ALL

PICTURE = Path(__file__).parents[2] / "docs" / "freshness.svg"
_LOOKS = {POLL_ALL.name: ("#999999", "v"), MINUTES.name: ("#d97706", "s"), EVENTS.name: ("#2563eb", "^")}
_LOOKS[INDEX.name] = ("#047857", "o")


def draw(result: Mapping[str, Any]) -> None:
    """Write the picture."""
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "refreshd", "font.size": 9, "axes.grid": True, "grid.alpha": 0.25})
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), sharex=True, layout="constrained")
    for place, axis in enumerate(axes.flat):
        cases = [size["cases"][place] for size in result["sizes"]]
        viewers = [size["viewers"] for size in result["sizes"]]
        for name, (colour, marker) in _LOOKS.items():
            shares = [100 * case["policies"][name]["staleness"] for case in cases]
            axis.plot(viewers, shares, color=colour, marker=marker, label=name)
        bounds = [100 * case["bound"] for case in cases]
        axis.plot(viewers, bounds, color="black", linestyle="--", label="lower bound, knows the future")
        limits = f"{cases[0]['calls_per_minute']} calls a minute"
        axis.set_title(limits + (", 20 GB in 30 days" if cases[0]["limits_bytes"] else ""))
        axis.set_xscale("log")
        axis.set_ylim(0)
        axis.set_ylabel("S: stale viewer-seconds, %")
    for axis in axes[1]:
        axis.set_xlabel("viewers at once")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(PICTURE, metadata={"Date": None})
