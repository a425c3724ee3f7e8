"""Symbols outside the allow-list: asked for upstream once, within the budgets, and taken in where they exist."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from daemon.contracts import CallRefusedError, Fetcher, FetchError, FetchErrorKind, FetchRequest
from daemon.processor.spending import Spender
from daemon.store.budgets import settle
from daemon.store.catalogue import admit_symbol, is_listed
from daemon.store.database import Database

PROBE_BYTES = 4_000
"""What a profile brings, about."""

NOT_THERE = frozenset({FetchErrorKind.BAD_REQUEST, FetchErrorKind.PLAN, FetchErrorKind.WRONG_SYMBOL})
"""The upstream has answered, and it is no symbol that could ever be fetched."""


class UpstreamAdmission:
    """Implements :class:`daemon.web.admission.SymbolAdmission`.

    Args:
        database: Where the allow-list is.
        spender: Pays the call.
        fetcher: Of profiles, which name the exchange.
        reload: Reads the allow-list again.
        is_wanted: Whether the flags let calls be made at all.
    """

    def __init__(
        self,
        database: Database,
        spender: Spender,
        fetcher: Fetcher,
        reload: Callable[[], Awaitable[None]],
        is_wanted: Callable[[], bool],
    ) -> None:
        self._database = database
        self._spender = spender
        self._fetcher = fetcher
        self._reload = reload
        self._is_wanted = is_wanted

    async def admit(self, symbol: str) -> bool:
        """Return whether the symbol exists; when True, it is in the allow-list.

        Raises:
            RefreshdError: Where that cannot be found out now.
        """
        if await is_listed(self._database, symbol):
            return False  # the operator has taken it out, or else it would not be asked about
        if not self._is_wanted():
            raise CallRefusedError("flags", 60.0)
        purse = self._spender.purse(PROBE_BYTES, "profile")
        try:
            found = (await self._fetcher.fetch([FetchRequest(symbol)], purse)).get(symbol)
        except FetchError as error:
            found = error
        finally:
            await asyncio.shield(settle(self._database, purse.settlements))
        if isinstance(found, FetchError):
            if found.kind in NOT_THERE:
                return False
            raise found
        if found is None or not found.rows:
            return False
        exchange = found.rows[0].get("exchange")
        await admit_symbol(self._database, symbol, exchange if isinstance(exchange, str) else None)
        await self._reload()
        return True
