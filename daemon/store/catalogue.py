"""The allow-list in memory: data types of the registry and supported symbols."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

import asyncpg

from daemon.contracts import GLOBAL_SYMBOL, DataType, Pair
from daemon.store.database import Database

_TYPES = """
    select r.data_type, r.edge_function_name, r.upstream, r.default_ttl_minutes, r.weight, r.market_hours,
           r.symbol_column is null as is_global, e.data_type is not null as enabled
    from data_type_registry_v2 r
    left join enabled_data_types_v2 e on e.data_type = r.data_type
    order by r.data_type
"""


class StoredCatalogue:
    """Implements :class:`daemon.contracts.Catalogue` on the rows as they were last loaded."""

    def __init__(self) -> None:
        self._types: Mapping[str, DataType] = {}
        self._symbols: Mapping[str, str | None] = {}
        """The exchange of each active symbol, as far as it is known."""
        self._pairs: dict[Pair, Pair] = {}
        """One object for each pair that was ever resolved, however many viewers name it."""
        self._on_change: list[Callable[[], None]] = []

    def on_change(self, told: Callable[[], None]) -> None:
        """Have ``told`` called after every load that has changed what :meth:`resolve` answers."""
        self._on_change.append(told)

    @property
    def types(self) -> Mapping[str, DataType]:
        """The registry, by data type."""
        return self._types

    def exchange_of(self, symbol: str) -> str | None:
        """Return the exchange on which an active symbol trades, None where that is not known."""
        return self._symbols.get(symbol)

    def exchanges(self) -> frozenset[str]:
        """Return the exchanges on which active symbols trade, as far as these are known."""
        return frozenset(exchange for exchange in self._symbols.values() if exchange is not None)

    @property
    def symbol_count(self) -> int:
        """How many symbols are active."""
        return len(self._symbols)

    async def load(self, database: Database, *, tell: bool = True) -> bool:
        """Read both tables; on any error the old content stays. Return whether :meth:`resolve` answers differently now.

        Args:
            database: Where they are.
            tell: Whether those who asked for it are told of a change.

        Raises:
            StoreUnavailableError: When PostgreSQL does not answer.
        """
        types = {row["data_type"]: _data_type(row) for row in await database.fetch(_TYPES)}
        rows = await database.fetch("select symbol, exchange from supported_symbols where is_active")
        before = self._answers()
        self._types, self._symbols = types, {row["symbol"]: row["exchange"] for row in rows}
        changed = before != self._answers()
        for told in self._on_change if changed and tell else ():
            told()
        return changed

    def _answers(self) -> tuple[AbstractSet[str], Mapping[str, bool]]:
        return self._symbols.keys(), {name: known.is_global for name, known in self._types.items()}

    def resolve(self, symbol: str, data_type: str) -> Pair | str:
        """Return the pair that a viewer means, or ``unknown_symbol`` or ``unknown_data_type``."""
        known = self._types.get(data_type)
        if known is None:
            return "unknown_data_type"
        if known.is_global:
            return self._pair(GLOBAL_SYMBOL, data_type)
        return self._pair(symbol, data_type) if symbol in self._symbols else "unknown_symbol"

    def _pair(self, symbol: str, data_type: str) -> Pair:
        pair = Pair(symbol, data_type)
        return self._pairs.setdefault(pair, pair)


def _data_type(row: asyncpg.Record) -> DataType:
    return DataType(
        name=row["data_type"],
        fetcher=row["edge_function_name"],
        upstream=row["upstream"],
        ttl_seconds=row["default_ttl_minutes"] * 60.0,
        weight=row["weight"],
        is_global=row["is_global"],
        enabled=row["enabled"],
        market_hours=row["market_hours"],
    )


async def seed_symbols(database: Database, symbols: Iterable[tuple[str, str | None]]) -> int:
    """Add (symbol, exchange) rows to the allow-list, or activate them again; return how many rows changed."""
    rows = sorted(dict(symbols).items())
    changed = await database.fetch(
        """
        insert into supported_symbols as s (symbol, exchange)
        select * from unnest($1::text[], $2::text[])
        on conflict (symbol) do update
        set is_active = true, exchange = coalesce(excluded.exchange, s.exchange)
        where not s.is_active or coalesce(excluded.exchange, s.exchange) is distinct from s.exchange
        returning symbol
        """,
        [symbol for symbol, _ in rows],
        [exchange for _, exchange in rows],
    )
    return len(changed)


async def admit_symbol(database: Database, symbol: str, exchange: str | None) -> bool:
    """Take a verified symbol into the allow-list; return whether it was new. One that was deactivated stays so.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    return bool(await database.fetchval("select admit_symbol_v2($1, $2)", symbol, exchange))


async def is_listed(database: Database, symbol: str) -> bool:
    """Return whether the allow-list has a symbol, active or not.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    return bool(await database.fetchval("select exists (select from supported_symbols where symbol = $1)", symbol))
