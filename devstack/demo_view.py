"""The demo's live table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from devstack.observer import PairSample, Totals

ROWS = 20
BAR = 12

_OUTCOME_STYLES = {"changed": "green", "unchanged": "cyan", "empty": "yellow", "rejected": "yellow", "failed": "red"}


def render(
    samples: list[PairSample], totals: Totals, viewers: int, limits: tuple[int, int], fresh_share: float | None
) -> Group:
    """Draw the pairs with the most viewers, and the totals below them.

    Args:
        samples: Every viewed pair.
        totals: Budgets, queue and breaker.
        viewers: How many viewers are here now.
        limits: Calls a minute and bytes per 30 days.
        fresh_share: Fresh pair-seconds of all so far, None until something was counted.
    """
    table = Table(title="what people are looking at", title_justify="left", expand=False)
    table.add_column("symbol", min_width=8)
    table.add_column("data type", min_width=22)
    table.add_column("viewers", justify="right")
    table.add_column("value", min_width=24, max_width=28, no_wrap=True)
    table.add_column("age / TTL", min_width=BAR + 16)
    table.add_column("last outcome", min_width=12)
    for sample in choose(samples):
        outcome = sample.outcome or "waiting"
        table.add_row(
            sample.pair.symbol,
            sample.pair.data_type,
            str(sample.viewers),
            sample.value or "-",
            _age(sample),
            Text(outcome, style=_OUTCOME_STYLES.get(outcome, "dim")),
        )
    return Group(table, Text(_more(len(samples))), _totals(totals, viewers, limits, fresh_share))


def choose(samples: Sequence[PairSample], rows: int = ROWS) -> list[PairSample]:
    """Return what the table shows: the most viewed pair of every data type, and else the most viewed ones."""
    ranked = sorted(samples, key=lambda sample: (-sample.viewers, sample.pair))
    first = {sample.pair.data_type: sample for sample in reversed(ranked)}
    leaders = list(first.values())
    rest = [sample for sample in ranked if sample not in leaders]
    return sorted([*leaders, *rest[: max(rows - len(leaders), 0)]], key=ranked.index)


def percentage(share: float | None) -> str:
    """Return a share as it is shown."""
    return "not measured yet" if share is None else f"{share:.2%}"


def _more(pairs: int) -> str:
    return f"and {pairs - ROWS} more pairs" if pairs > ROWS else ""


def _age(sample: PairSample) -> Text:
    if sample.age_seconds is None:
        return Text("-", style="dim")
    share = min(sample.age_seconds / sample.ttl_seconds, 1.0)
    filled = round(share * BAR)
    bar = "█" * filled + "░" * (BAR - filled)
    return Text(
        f"{bar} {_short(sample.age_seconds)} / {_short(sample.ttl_seconds)}", style="green" if sample.fresh else "red"
    )


def _short(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _totals(totals: Totals, viewers: int, limits: tuple[int, int], fresh_share: float | None) -> Text:
    breaker = "paused" if totals.paused else totals.breaker
    return Text.assemble(
        ("viewers ", "dim"),
        f"{viewers}   ",
        ("fresh ", "dim"),
        f"{percentage(fresh_share)}   ",
        ("calls in a minute ", "dim"),
        f"{totals.calls_in_window} of {limits[0]}   ",
        ("bytes ", "dim"),
        f"{totals.bytes_in_30_days / 1e6:.2f} MB of {limits[1] / 1e9:.0f} GB   ",
        ("queue ", "dim"),
        f"{totals.pending} waiting, {totals.processing} running   ",
        ("breaker ", "dim"),
        (breaker, "green" if breaker == "closed" else "bold red"),
    )
