"""One telling value of what is stored about a pair, for people who look at a table of many."""

from __future__ import annotations

from collections.abc import Collection, Mapping

_GLIMPSES: Mapping[str, str] = {
    "quote": "select price::text from live_quote_indicators t where t.symbol = i.symbol",
    "profile": "select company_name from profiles t where t.symbol = i.symbol",
    "financial-statements": """
        select fiscal_year || ' ' || period || ': '
               || round((income_statement ->> 'revenue')::numeric / 1e9, 1) || 'bn ' || reported_currency
        from financial_statements t where t.symbol = i.symbol order by date desc limit 1
    """,
    "ratios-ttm": "select 'P/E ' || round(price_to_earnings_ratio_ttm, 1) from ratios_ttm t where t.symbol = i.symbol",
    "dividend-history": """
        select date || ': ' || round(dividend, 3) from dividend_history t where t.symbol = i.symbol
        order by date desc limit 1
    """,
    "shares-float": """
        select round(free_float, 1) || ' % free float' from shares_float t where t.symbol = i.symbol
        order by date desc limit 1
    """,
    "revenue-segmentation": """
        select fiscal_year || ': ' || (select count(*) from jsonb_object_keys(data)) || ' segments'
        from revenue_product_segmentation t where t.symbol = i.symbol order by date desc limit 1
    """,
    "grades-historical": """
        select date || ': ' || coalesce(analyst_ratings_strong_buy, 0) + coalesce(analyst_ratings_buy, 0) || ' buy, '
               || coalesce(analyst_ratings_hold, 0) || ' hold'
        from grades_historical t where t.symbol = i.symbol order by date desc limit 1
    """,
    "exchange-variants": """
        select string_agg(exchange_short_name, ' ' order by exchange_short_name) from exchange_variants t
        where t.symbol = i.symbol
    """,
    "available-exchanges": "select count(*) || ' exchanges' from available_exchanges",
    "exchange-market-status": "select count(*) filter (where is_market_open) || ' of ' || count(*) || ' open'"
    " from exchange_market_status",
    "price-target": "select 'target ' || round(target_consensus, 2) from price_targets t where t.symbol = i.symbol",
}


def glimpse(data_types: Collection[str]) -> str:
    """Return an expression of SQL for a row ``i (symbol, data_type)`` of these types; null where nothing is stored."""
    cases = (f"when '{name}' then ({_GLIMPSES[name]})" for name in sorted(_GLIMPSES.keys() & data_types))
    return f"case i.data_type {' '.join(cases)} end" if _GLIMPSES.keys() & data_types else "null::text"
