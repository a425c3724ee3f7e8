"""Demand in the database: the subscriptions of the viewers, and which of their pairs are due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daemon.contracts import Pair, Subscription
from daemon.store.database import Database, transposed


@dataclass(frozen=True, slots=True)
class PairDemand:
    """What somebody wants of a pair: its distinct viewers and the gain of refreshing it."""

    pair: Pair
    viewers: int
    gain: float


@dataclass(frozen=True, slots=True)
class DueTime:
    """When a pair is due, from now; 0 or less is due already."""

    pair: Pair
    due_in_seconds: float
    has_open_job: bool


async def queue_stale_pairs(database: Database, demands: Sequence[PairDemand]) -> int:
    """Queue those of the pairs that are due, in one call; return the number of new jobs."""
    columns = transposed([(*demand.pair, demand.viewers, demand.gain) for demand in demands], 4)
    return int(await database.fetchval("select check_and_queue_stale_pairs_v2($1, $2, $3, $4)", *columns))


async def read_due_times(database: Database, pairs: Iterable[Pair]) -> list[DueTime]:
    """Return when pairs are due; those never asked for are left out."""
    rows = await database.fetch("select * from get_due_times_v2($1, $2)", *transposed(list(pairs), 2))
    return [DueTime(Pair(row["symbol"], row["data_type"]), row["due_in_seconds"], row["has_open_job"]) for row in rows]


async def sweep(database: Database) -> int:
    """Queue every viewed pair that is due, expire subscriptions nobody vouches for; return the number of new jobs."""
    return int(await database.fetchval("select check_and_queue_stale_data_from_presence_v2()"))


async def report_subscriptions(
    database: Database,
    holder: str,
    shard: str,
    source: str,
    joined: Iterable[Subscription],
    left: Iterable[Subscription],
) -> bool:
    """Apply a batch of changes of one source; return False where its shard belongs to another listener by now."""
    return bool(
        await database.fetchval(
            "select report_subscriptions_v2($1, $2, $3, $4, $5)",
            holder,
            shard,
            source,
            _records(joined),
            _records(left),
        )
    )


async def touch_subscriptions(database: Database, holder: str, sources: Iterable[tuple[str, str]]) -> int:
    """Vouch for all rows of live (shard, source) as far as they are still ours; return how many were due for it."""
    columns = transposed(list(sources), 2)
    return int(await database.fetchval("select touch_subscriptions_v2($1, $2, $3)", holder, *columns))


async def update_job_demand(database: Database, demands: Sequence[PairDemand]) -> int:
    """Let pending jobs follow demand; return how many were dropped because nobody views their pair any more."""
    columns = transposed([(*demand.pair, demand.gain) for demand in demands], 3)
    return int(await database.fetchval("select update_job_demand_v2($1, $2, $3)", *columns))


def _records(subscriptions: Iterable[Subscription]) -> list[dict[str, str]]:
    return [{"user_id": viewer, "symbol": pair.symbol, "data_type": pair.data_type} for viewer, pair in subscriptions]
