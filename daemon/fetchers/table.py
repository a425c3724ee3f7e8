"""The table of fetchers: by the name that a row of the registry carries, the class that does the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from daemon.contracts import ExchangeBook, Fetcher
from daemon.fetchers.available_exchanges import AvailableExchangesFetcher
from daemon.fetchers.dividend_history import DividendHistoryFetcher
from daemon.fetchers.exchange_market_status import ExchangeMarketStatusFetcher
from daemon.fetchers.exchange_variants import ExchangeVariantsFetcher
from daemon.fetchers.financial_statements import FinancialStatementsFetcher
from daemon.fetchers.grades_historical import GradesHistoricalFetcher
from daemon.fetchers.profile import ProfileFetcher
from daemon.fetchers.quote import QuoteFetcher
from daemon.fetchers.ratios_ttm import RatiosTtmFetcher
from daemon.fetchers.revenue_segmentation import RevenueSegmentationFetcher
from daemon.fetchers.shares_float import SharesFloatFetcher

FETCHERS: Mapping[str, Callable[[], Fetcher]] = {
    "quote": QuoteFetcher,
    "profile": ProfileFetcher,
    "financial-statements": FinancialStatementsFetcher,
    "ratios-ttm": RatiosTtmFetcher,
    "dividend-history": DividendHistoryFetcher,
    "shares-float": SharesFloatFetcher,
    "revenue-segmentation": RevenueSegmentationFetcher,
    "grades-historical": GradesHistoricalFetcher,
    "exchange-variants": ExchangeVariantsFetcher,
    "available-exchanges": AvailableExchangesFetcher,
    "exchange-market-status": ExchangeMarketStatusFetcher,
}
"""In the order of the registry's seed."""


def build_fetchers(
    book: ExchangeBook | None = None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dict[str, Fetcher]:
    """Return one fetcher of every kind, by name. They remember things: build them once per process.

    Args:
        book: What is stored about exchanges, since the feed of their hours does not tell it on every day.
        now: Returns the time.
    """
    fetchers = {name: build() for name, build in FETCHERS.items()}
    return {**fetchers, "exchange-market-status": ExchangeMarketStatusFetcher(book, now)}
