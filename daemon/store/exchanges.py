"""What is stored about exchanges: their hours, holidays, and how late the upstream shows their prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from daemon.store.database import Database

_EXCHANGES = """
select e.exchange, e.opening_hour, e.closing_hour, e.opening_additional, e.closing_additional, e.timezone,
       e.is_market_open, e.holidays, e.holidays_checked_on, a.delay,
       case when s.last_outcome = 'unchanged' then greatest(e.fetched_at, s.last_success_at) else e.fetched_at end
           as fetched_at
from exchange_market_status e
left join available_exchanges a on a.exchange = e.exchange
-- "Nothing has changed" (304) says that every row still holds. Of an answer with news nobody knows whom it left out.
left join refresh_state_v2 s on s.symbol = 'GLOBAL' and s.data_type = 'exchange-market-status'
"""


class StoredExchange(NamedTuple):
    """A row of ``exchange_market_status`` with its ``delay`` from ``available_exchanges``."""

    exchange: str
    opening_hour: str | None
    closing_hour: str | None
    opening_additional: str | None
    closing_additional: str | None
    timezone: str | None
    is_market_open: bool | None
    holidays: Sequence[Mapping[str, Any]]
    """Whatever is no object among the records is left out."""
    holidays_checked_on: date | None
    fetched_at: datetime
    delay: str | None


async def read_exchanges(database: Database) -> list[StoredExchange]:
    """Return every exchange that is known.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    rows = await database.fetch(_EXCHANGES)
    return [StoredExchange(**{**row, "holidays": _records(row["holidays"])}) for row in rows]


def _records(records: object) -> Sequence[Mapping[str, Any]]:
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []
