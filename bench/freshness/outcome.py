"""What the benchmark of freshness tells: tables, goals, and the JSON file with all figures."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.freshness.driving import LATENCY_SECONDS
from bench.freshness.orders import INDEX, MINUTES
from bench.results import RESULTS

OVERLOADED = 0.001
"""A bound above this: the budget does not suffice, whatever the policy."""

Goal = dict[str, Any]


def goals(sizes: Sequence[Mapping[str, Any]]) -> list[Goal]:
    """Return what was to be reached, and whether it was."""
    found = []
    for viewers, case in _cases(sizes):
        ours, loop, bound = case["policies"][INDEX.name], case["policies"][MINUTES.name], case["bound"]
        where = f"{_short(viewers)} / {case['calls_per_minute']}{' / 20 GB' if case['limits_bytes'] else ''}"
        if bound > OVERLOADED:
            found.append(_goal(f"{where}: S / bound", ours["staleness"] / bound, at_most=1.10))
        closed = (loop["staleness"] - ours["staleness"]) / (loop["staleness"] - bound)
        found.append(_goal(f"{where}: gap closed", closed, at_least=0.85))
        if (viewers, case["calls_per_minute"], case["limits_bytes"]) == (1_000, 3_000, False):
            found.append(_goal(f"{where}: S", ours["staleness"], at_most=0.003))
            found.append(_goal(f"{where}: p99 seconds", ours["wait_p99_seconds"], at_most=LATENCY_SECONDS + 1))
    runtimes = [_goal(f"{_short(s['viewers'])}: runtime, s", s["runtime_seconds"], at_most=600) for s in sizes]
    return [*found, *runtimes]


def _goal(name: str, measured: float, *, at_most: float | None = None, at_least: float | None = None) -> Goal:
    target = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"
    met = measured <= at_most if at_most is not None else measured >= (at_least or 0.0)
    return {"name": name, "target": target, "measured": measured, "met": bool(met)}


def show(result: Mapping[str, Any]) -> None:
    """Print everything."""
    console = Console(width=150)
    for key, title in (("policies", "one symbol a call"), ("with_batch_quote", "a hundred quotes a call")):
        console.print(_table(result["sizes"], key, title))
    for key in ("by_type", "by_band"):
        console.print(_shares(result["sizes"], key))
    table = Table("goal", "target", "measured", "met", box=None)
    for goal in result["goals"]:
        table.add_row(goal["name"], goal["target"], f"{goal['measured']:.4g}", "yes" if goal["met"] else "[red]no[/]")
    console.print(table)


def write(result: Mapping[str, Any]) -> None:
    """Write the JSON file."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "freshness.json").write_text(json.dumps({"machine": machine, **_rounded(result)}, indent=1) + "\n")


def _table(sizes: Sequence[Mapping[str, Any]], key: str, title: str) -> Table:
    names = (
        "viewers",
        "calls/min",
        "20 GB",
        "policy",
        "S",
        "/ bound",
        "p50 s",
        "p99 s",
        "longest s",
        "never",
        "wasted",
    )
    table = Table(*names, "calls", "bytes", title=title, box=None, title_justify="left")
    for viewers, case in _cases(sizes):
        for name, report in case[key].items():
            table.add_row(
                _short(viewers),
                str(case["calls_per_minute"]),
                "yes" if case["limits_bytes"] else "",
                name,
                f"{report['staleness']:.4f}",
                f"{report['staleness'] / case['bound']:.2f}" if case["bound"] > OVERLOADED else "",
                f"{report['wait_p50_seconds']:.2f}",
                f"{report['wait_p99_seconds']:.1f}",
                f"{report['longest_wait_seconds']:.0f}",
                f"{report['never_fresh_share']:.4f}",
                f"{report['wasted_share']:.3f}",
                f"{report['calls_share']:.3f}",
                f"{report['bytes_share']:.2f}",
            )
        table.add_row("", "", "", "lower bound", f"{case['bound']:.4f}")
        table.add_row(
            "", "", "", "lower bound, a minute of calls in 62 s", f"{case['bound_at_62_s']:.4f}", end_section=True
        )
    return table


def _shares(sizes: Sequence[Mapping[str, Any]], key: str) -> Table:
    """S of the daemon's policy by type, or by band of popularity."""
    columns = list(sizes[0]["cases"][0]["policies"][INDEX.name][key])
    table = Table("viewers", "calls/min", "20 GB", *columns, title=f"S of refreshd {key.replace('_', ' ')}", box=None)
    for viewers, case in _cases(sizes):
        shares = case["policies"][INDEX.name][key]
        limits_bytes = "yes" if case["limits_bytes"] else ""
        row = [_short(viewers), str(case["calls_per_minute"]), limits_bytes]
        table.add_row(*row, *(f"{shares[column]:.4f}" for column in columns))
    return table


def _cases(sizes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for size in sizes:
        for case in size["cases"]:
            yield size["viewers"], case


def _short(viewers: int) -> str:
    return f"{viewers // 1_000_000}M" if viewers >= 1_000_000 else f"{viewers // 1_000}k"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value
