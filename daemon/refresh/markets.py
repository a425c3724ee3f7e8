"""The exchanges as they were last loaded: of which pairs the data follows trading hours, and of which exchange."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta

from daemon.contracts import Clock, DataType, KnownExchange, Pair
from daemon.refresh.market_hours import TradingHours, read_hours
from daemon.store.exchanges import StoredExchange

LOOK_SECONDS = timedelta(seconds=5)
"""An exchange is looked at again after this: thousands of pairs ask for it within a moment."""


class Markets:
    """Trading hours by pair. Implements :class:`daemon.contracts.ExchangeBook` as well.

    Args:
        types: Gives the registry as it was last loaded.
        exchange_of: Gives the exchange on which a symbol trades, None where that is not known.
        clock: The database's time.
        traded: Gives the exchanges on which active symbols trade.
    """

    def __init__(
        self,
        types: Callable[[], Mapping[str, DataType]],
        exchange_of: Callable[[str], str | None],
        clock: Clock,
        traded: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self._types = types
        self._exchange_of = exchange_of
        self._clock = clock
        self._traded = traded
        self._known: Mapping[str, KnownExchange] = {}
        self._hours: Mapping[str, TradingHours | None] = {}
        self._closed: dict[tuple[str, float], tuple[datetime, datetime | None]] = {}
        """By exchange and TTL, when it was looked at and until when a price of now stays fresh; None while it moves."""

    def load(self, exchanges: Iterable[StoredExchange]) -> None:
        """Take over what is stored about all exchanges."""
        stored = list(exchanges)
        self._hours = {known.exchange: read_hours(known) for known in stored}
        self._known = {known.exchange: _known(known) for known in stored}
        self._closed.clear()

    def known_exchanges(self) -> Mapping[str, KnownExchange]:
        """Return by its code what is stored about each exchange."""
        return self._known

    def traded_exchanges(self) -> Collection[str]:
        """Return the exchanges on which active symbols trade."""
        return self._traded()

    def hours_of(self, pair: Pair) -> TradingHours | None:
        """Return the hours that the data of ``pair`` follows, None where it follows none, or none are known."""
        known = self._types().get(pair.data_type)
        if known is None or not known.market_hours:
            return None
        exchange = self._exchange_of(pair.symbol)
        return None if exchange is None else self._hours.get(exchange)

    def fresh_seconds(self, pair: Pair, ttl_seconds: float) -> float:
        """Return for how long an answer of now would be fresh: the TTL, or until the exchange has opened again."""
        hours = self.hours_of(pair)
        if hours is None:
            return ttl_seconds
        now = self._clock.now()
        key = (str(self._exchange_of(pair.symbol)), ttl_seconds)
        looked_at, until = self._closed.get(key, (datetime.min.replace(tzinfo=now.tzinfo), None))
        if not timedelta() <= now - looked_at < LOOK_SECONDS:
            until = None if hours.is_moving(now) else hours.fresh_until(now, ttl_seconds)
            self._closed[key] = (now, until)
        return ttl_seconds if until is None else max((until - now).total_seconds(), ttl_seconds)


def _known(stored: StoredExchange) -> KnownExchange:
    return KnownExchange(
        exchange=stored.exchange,
        opening_hour=stored.opening_hour,
        closing_hour=stored.closing_hour,
        opening_additional=stored.opening_additional,
        closing_additional=stored.closing_additional,
        timezone=stored.timezone,
        holidays=stored.holidays,
        holidays_checked_on=stored.holidays_checked_on,
    )
