"""How a benchmark tells its result: one JSON file, and the same as a table."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Goal:
    """What was to be reached, and whether it was; a goal that is missed is reported, not hidden."""

    name: str
    target: str
    measured: float | None
    met: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What one run measured. Units are in the names of the figures."""

    name: str
    figures: Mapping[str, float | None]
    ratios: Mapping[str, float] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()

    def publish(self, *, write: bool = True) -> None:
        """Print the table, and write the JSON file."""
        if write:
            self._write()
        console = Console()
        console.print(_table("figure", "value", {**self.figures, **self.ratios}))
        goals = Table("goal", "target", "measured", "met", box=None)
        for goal in self.goals:
            goals.add_row(goal.name, goal.target, _number(goal.measured), "yes" if goal.met else "[red]no[/]")
        console.print(goals)

    def _write(self) -> None:
        RESULTS.mkdir(exist_ok=True)
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        data = {"name": self.name, "machine": machine, **{k: v for k, v in asdict(self).items() if k != "name"}}
        (RESULTS / f"{self.name}.json").write_text(json.dumps(data, indent=2) + "\n")


def _table(first: str, second: str, rows: Mapping[str, float | None]) -> Table:
    table = Table(first, second, box=None)
    for name, value in rows.items():
        table.add_row(name, _number(value))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
