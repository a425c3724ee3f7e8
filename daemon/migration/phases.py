"""The phases of a data type on its way from the old system, in words, and the order in which types move."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any

from daemon.store.moves import Move

ORDER = (
    "quote",
    "profile",
    "financial-statements",
    "ratios-ttm",
    "dividend-history",
    "shares-float",
    "revenue-segmentation",
    "grades-historical",
    "exchange-variants",
    "available-exchanges",
    "exchange-market-status",
)
"""The plan's: what is viewed most comes first, what is refreshed by the clock last."""

WORDS = {
    "old": "old",
    "pausing": "pausing the old job",
    "watched": "new, watched",
    "finished": "finished",
    "rolling_back": "rolling back",
    "resuming": "resuming the old job",
    "rolled_back": "rolled back",
}
ON = frozenset({"watched", "finished"})
"""Phases in which refreshd refreshes the type, and nobody else does."""


def watch_seconds(hours: float) -> float:
    """Return how long a watch lasts, in seconds."""
    return timedelta(hours=hours).total_seconds()


def in_order(moves: Iterable[Move]) -> list[Move]:
    """Return the types in the plan's order, and those that the plan does not know after them."""
    places = {name: place for place, name in enumerate(ORDER)}
    return sorted(moves, key=lambda move: (places.get(move.data_type, len(ORDER)), move.data_type))


def under_way(moves: Iterable[Move]) -> dict[str, dict[str, Any]]:
    """Return by data type, of those that have begun to move, the phase in words and the gates that are broken."""
    return {
        move.data_type: {
            "phase": WORDS[move.phase],
            "broken_gates": [check["name"] for check in move.checks if check["state"] == "broken"],
        }
        for move in moves
        if move.phase != "old"
    }


def flag_problem(move: Move) -> str | None:
    """Return what is wrong with the flag of a type that has begun to move; None where it is as the phase wants it."""
    if move.is_final:
        return None  # flags are the operator's alone again
    if move.phase in ON and not move.flag_is_on:
        return f"its flag is off{_by_whom(move)}: neither system refreshes it"
    if move.phase not in {*ON, "old"} and move.flag_is_on:
        return f"its flag is on{_by_whom(move)}: both systems may refresh it"
    return None


def _by_whom(move: Move) -> str:
    return f", set by {move.flag_changed_by}" if move.flag_changed_by else ""


def next_step(moves: Sequence[Move], ready: Collection[str]) -> str:
    """Return what the operator does next, as a command where there is one; ``ready`` are types that can be finished."""
    ordered = in_order(moves)
    for move in ordered:
        if (urgent := _urgent(move, is_ready=move.data_type in ready)) is not None:
            return urgent
    waiting = [move.data_type for move in ordered if move.phase in {"old", "rolled_back"} and move.data_type in ORDER]
    watched = [move.data_type for move in ordered if move.phase == "watched"]
    if waiting:
        aside = f" (once {watched[-1]} has been watched for a while)" if watched else ""
        return f"refreshd migration start {waiting[0]}{aside}"
    return f"wait: {', '.join(watched)} still watched" if watched else "refreshd migration finalize --dry-run"


def _urgent(move: Move, *, is_ready: bool) -> str | None:
    """Return what has to be done about a type before the next one moves."""
    match move.phase:
        case "rolling_back" | "resuming":
            return f"end what was begun: refreshd migration rollback {move.data_type}"
        case "pausing":
            return f"go on with: refreshd migration start {move.data_type}"
        case "watched" if any(check["state"] == "broken" for check in move.checks):
            return f"a gate is broken: refreshd migration rollback {move.data_type}"
        case "watched" if is_ready:
            return f"the watch is over: refreshd migration finish {move.data_type}"
    return None
