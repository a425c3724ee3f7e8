"""Endpoint ``income-statement``."""

from __future__ import annotations

from collections.abc import Mapping

from devstack.upstream.figures import Figures, figures
from devstack.upstream.market import Market
from devstack.upstream.particulars import particulars
from devstack.upstream.periods import header, reported_periods
from devstack.upstream.wire import Row, number


def income_statement(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``income-statement?symbol=A``: a row per period, none for what is no company."""
    listing = market.listings.get(params["symbol"])
    if listing is None or not listing.is_company:
        return []
    cik = particulars(listing).cik
    return [
        header(listing, period, cik) | _operations(figures(listing, period)) | _results(figures(listing, period))
        for period in reported_periods(market, listing, params)
    ]


def _operations(company: Figures) -> Row:
    expenses = company.research + company.administration
    ebit = company.pretax_income + company.interest
    return {
        "revenue": company.revenue,
        "costOfRevenue": company.cost,
        "grossProfit": company.gross_profit,
        "researchAndDevelopmentExpenses": company.research,
        "generalAndAdministrativeExpenses": company.administration,
        "sellingAndMarketingExpenses": 0,
        "sellingGeneralAndAdministrativeExpenses": company.administration,
        "otherExpenses": 0,
        "operatingExpenses": expenses,
        "costAndExpenses": company.cost + expenses,
        "netInterestIncome": -company.interest,
        "interestIncome": 0,
        "interestExpense": company.interest,
        "depreciationAndAmortization": company.depreciation,
        "ebitda": ebit + company.depreciation,
        "ebit": ebit,
        "nonOperatingIncomeExcludingInterest": -company.other_income,
    }


def _results(company: Figures) -> Row:
    return {
        "operatingIncome": company.operating_income,
        "totalOtherIncomeExpensesNet": company.other_income - company.interest,
        "incomeBeforeTax": company.pretax_income,
        "incomeTaxExpense": company.tax,
        "netIncomeFromContinuingOperations": company.net_income,
        "netIncomeFromDiscontinuedOperations": 0,
        "otherAdjustmentsToNetIncome": 0,
        "netIncome": company.net_income,
        "netIncomeDeductions": 0,
        "bottomLineNetIncome": company.net_income,
        "eps": number(company.net_income / company.shares, 2),
        "epsDiluted": number(company.net_income / company.diluted_shares, 2),
        "weightedAverageShsOut": company.shares,
        "weightedAverageShsOutDil": company.diluted_shares,
    }
