"""The table of all endpoints: what each needs to be asked with, and what answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devstack.upstream.balance_sheet import balance_sheet
from devstack.upstream.cash_flow import cash_flow
from devstack.upstream.holidays import holidays
from devstack.upstream.hours import all_market_hours, available_exchanges, market_hours
from devstack.upstream.income_statement import income_statement
from devstack.upstream.listings import exchanges
from devstack.upstream.market import Market
from devstack.upstream.ownership import dividends, grades_historical, product_segmentation, shares_float
from devstack.upstream.profiles import exchange_variants, profile
from devstack.upstream.quotes import batch_quote, quote, search_symbol
from devstack.upstream.ratios import ratios_ttm
from devstack.upstream.targets import price_target_consensus
from devstack.upstream.wire import Reply, Row, bad_request, missing_parameter


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers, and the one parameter that it cannot do without."""

    answer: Callable[[Market, Mapping[str, str]], list[Row]]
    parameter: str | None = "symbol"


ENDPOINTS: Mapping[str, Endpoint] = {
    "quote": Endpoint(quote),
    "batch-quote": Endpoint(batch_quote, "symbols"),
    "profile": Endpoint(profile),
    "income-statement": Endpoint(income_statement),
    "balance-sheet-statement": Endpoint(balance_sheet),
    "cash-flow-statement": Endpoint(cash_flow),
    "ratios-ttm": Endpoint(ratios_ttm),
    "dividends": Endpoint(dividends),
    "shares-float": Endpoint(shares_float),
    "revenue-product-segmentation": Endpoint(product_segmentation),
    "grades-historical": Endpoint(grades_historical),
    "search-exchange-variants": Endpoint(exchange_variants),
    "available-exchanges": Endpoint(available_exchanges, None),
    "all-exchange-market-hours": Endpoint(all_market_hours, None),
    "exchange-market-hours": Endpoint(market_hours, "exchange"),
    "holidays-by-exchange": Endpoint(holidays, "exchange"),
    "price-target-consensus": Endpoint(price_target_consensus),
    "search-symbol": Endpoint(search_symbol, "query"),
}


def ask(market: Market, name: str, params: Mapping[str, str]) -> list[Row] | Reply:
    """Return the rows of an endpoint, or the error for a question that it does not understand."""
    endpoint = ENDPOINTS.get(name)
    if endpoint is None:
        return Reply(404, b"[]")
    if endpoint.parameter is not None and not params.get(endpoint.parameter):
        return missing_parameter(endpoint.parameter)
    if endpoint.parameter == "exchange" and params["exchange"] not in exchanges():
        return bad_request("Invalid Exchange Provided.")
    return endpoint.answer(market, params)
