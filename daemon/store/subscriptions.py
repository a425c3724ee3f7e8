"""What a page that starts to look at a symbol needs of the database: its stale pairs queued, and how they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from daemon.contracts import Pair
from daemon.store.database import Database, transposed

_QUEUE = """
    select check_and_queue_stale_pairs_v2($1, $2, array_fill(1, array[cardinality($1::text[])])) as new_jobs,
           (select count(*) from name_symbol_topics_v2($3)) as topics
"""
_STATES = """
    select i.symbol, i.data_type, s.fresh_until,
           coalesce(s.fresh_until > clock_timestamp(), false) as is_fresh,
           s.open_job_id is not null as is_queued
    from unnest($1::text[], $2::text[]) as i (symbol, data_type)
    left join refresh_state_v2 s on s.symbol = i.symbol and s.data_type = i.data_type
"""


@dataclass(frozen=True, slots=True)
class StoredPairState:
    """How a pair stands by the clock of the database."""

    pair: Pair
    fresh_until: datetime | None
    """When it goes, or went, stale; None where it was never fetched."""
    is_fresh: bool
    is_queued: bool
    """Whether a job of it is open."""


class StoredSubscriptions:
    """Queues what pages ask for.

    Args:
        database: The daemon's connections.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def queue_stale(self, pairs: Sequence[Pair], symbols: Sequence[str]) -> tuple[int, list[StoredPairState]]:
        """Queue those of the pairs that are due and ask for the symbols' topics, in one statement; then look at them.

        Args:
            pairs: Of the allow-list, each once; each counts as viewed by one.
            symbols: Whose topics are to be joined; those outside the allow-list are passed over.

        Returns:
            The number of new jobs, and how every pair stands now.

        Raises:
            StoreUnavailableError: When PostgreSQL could not do it now. Doing it again does no harm.
        """
        columns = transposed(pairs, 2)
        row = await self._database.fetchrow(_QUEUE, *columns, list(symbols))
        states = await self._database.fetch(_STATES, *columns)
        return (row["new_jobs"] if row else 0), [
            StoredPairState(
                Pair(state["symbol"], state["data_type"]), state["fresh_until"], state["is_fresh"], state["is_queued"]
            )
            for state in states
        ]
