"""Endpoint ``cash-flow-statement``: the three activities add up to the change in cash."""

from __future__ import annotations

from collections.abc import Mapping

from devstack.upstream.figures import Figures, figures, money
from devstack.upstream.market import Market
from devstack.upstream.particulars import particulars
from devstack.upstream.periods import header, reported_periods
from devstack.upstream.wire import Row


def cash_flow(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``cash-flow-statement?symbol=A``: a row per period, none for what is no company."""
    listing = market.listings.get(params["symbol"])
    if listing is None or not listing.is_company:
        return []
    cik = particulars(listing).cik
    return [
        header(listing, period, cik) | _flows(figures(listing, period))
        for period in reported_periods(market, listing, params)
    ]


def _flows(company: Figures) -> Row:
    operating, investing = _operating(company), _investing(company)
    change = company.cash - company.cash_before
    financing = change - company.operating_cash_flow - investing["netCashProvidedByInvestingActivities"]
    return operating | investing | _financing(company, financing) | _summary(company, change)


def _operating(company: Figures) -> Row:
    receivables, stock = money(company.revenue * -0.01), money(company.revenue * 0.004)
    payables = money(company.revenue * 0.006)
    return {
        "netIncome": company.net_income,
        "depreciationAndAmortization": company.depreciation,
        "deferredIncomeTax": 0,
        "stockBasedCompensation": company.stock_compensation,
        "changeInWorkingCapital": company.working_capital_change,
        "accountsReceivables": receivables,
        "inventory": stock,
        "accountsPayables": payables,
        "otherWorkingCapital": company.working_capital_change - receivables - stock - payables,
        "otherNonCashItems": 0,
        "netCashProvidedByOperatingActivities": company.operating_cash_flow,
    }


def _investing(company: Figures) -> Row:
    bought, sold = money(company.revenue * -0.06), money(company.revenue * 0.07)
    return {
        "investmentsInPropertyPlantAndEquipment": -company.capital_expenditure,
        "acquisitionsNet": 0,
        "purchasesOfInvestments": bought,
        "salesMaturitiesOfInvestments": sold,
        "otherInvestingActivities": 0,
        "netCashProvidedByInvestingActivities": bought + sold - company.capital_expenditure,
    }


def _financing(company: Figures, total: int) -> Row:
    debt = money(company.total_debt * -0.05)
    return {
        "netDebtIssuance": debt,
        "longTermNetDebtIssuance": debt,
        "shortTermNetDebtIssuance": 0,
        "netStockIssuance": -company.buybacks,
        "netCommonStockIssuance": -company.buybacks,
        "commonStockIssuance": 0,
        "commonStockRepurchased": -company.buybacks,
        "netPreferredStockIssuance": 0,
        "netDividendsPaid": -company.dividends,
        "commonDividendsPaid": -company.dividends,
        "preferredDividendsPaid": 0,
        "otherFinancingActivities": total - debt + company.buybacks + company.dividends,
        "netCashProvidedByFinancingActivities": total,
    }


def _summary(company: Figures, change: int) -> Row:
    return {
        "effectOfForexChangesOnCash": 0,
        "netChangeInCash": change,
        "cashAtEndOfPeriod": company.cash,
        "cashAtBeginningOfPeriod": company.cash_before,
        "operatingCashFlow": company.operating_cash_flow,
        "capitalExpenditure": -company.capital_expenditure,
        "freeCashFlow": company.free_cash_flow,
        "incomeTaxesPaid": company.tax,
        "interestPaid": company.interest,
    }
