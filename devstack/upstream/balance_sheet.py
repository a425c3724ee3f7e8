"""Endpoint ``balance-sheet-statement``: assets equal liabilities and equity, parts add up to their totals."""

from __future__ import annotations

from collections.abc import Mapping

from devstack.upstream.figures import Figures, figures, money
from devstack.upstream.market import Market
from devstack.upstream.particulars import particulars
from devstack.upstream.periods import header, reported_periods
from devstack.upstream.wire import Row


def balance_sheet(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``balance-sheet-statement?symbol=A``: a row per period, none for what is no company."""
    listing = market.listings.get(params["symbol"])
    if listing is None or not listing.is_company:
        return []
    cik = particulars(listing).cik
    return [
        header(listing, period, cik) | sheet(figures(listing, period))
        for period in reported_periods(market, listing, params)
    ]


def sheet(company: Figures) -> Row:
    """Return the figures of a balance sheet."""
    assets = _current_assets(company) | _other_assets(company)
    liabilities = _current_liabilities(company) | _other_liabilities(company)
    return assets | liabilities | _equity(company) | _totals(company)


def _current_assets(company: Figures) -> Row:
    investments, trade = money(company.cash * 0.4), money(company.total_assets * 0.08)
    receivable, stock, other = money(company.total_assets * 0.04), money(company.total_assets * 0.03), 0
    return {
        "cashAndCashEquivalents": company.cash,
        "shortTermInvestments": investments,
        "cashAndShortTermInvestments": company.cash + investments,
        "netReceivables": trade + receivable,
        "accountsReceivables": trade,
        "otherReceivables": receivable,
        "inventory": stock,
        "prepaids": 0,
        "otherCurrentAssets": other,
        "totalCurrentAssets": company.cash + investments + trade + receivable + stock + other,
    }


def _other_assets(company: Figures) -> Row:
    total = company.total_assets - _current_assets(company)["totalCurrentAssets"]
    plant, goodwill, intangible = money(total * 0.4), money(total * 0.2), money(total * 0.05)
    investments, taxes = money(total * 0.2), money(total * 0.05)
    return {
        "propertyPlantEquipmentNet": plant,
        "goodwill": goodwill,
        "intangibleAssets": intangible,
        "goodwillAndIntangibleAssets": goodwill + intangible,
        "longTermInvestments": investments,
        "taxAssets": taxes,
        "otherNonCurrentAssets": total - plant - goodwill - intangible - investments - taxes,
        "totalNonCurrentAssets": total,
        "otherAssets": 0,
        "totalAssets": company.total_assets,
    }


def _current_liabilities(company: Figures) -> Row:
    payable, other_payable = money(company.total_assets * 0.08), money(company.total_assets * 0.02)
    accrued, deferred = money(company.total_assets * 0.02), money(company.total_assets * 0.03)
    debt, other = money(company.total_debt * 0.15), money(company.total_assets * 0.04)
    return {
        "totalPayables": payable + other_payable,
        "accountPayables": payable,
        "otherPayables": other_payable,
        "accruedExpenses": accrued,
        "shortTermDebt": debt,
        "capitalLeaseObligationsCurrent": 0,
        "taxPayables": 0,
        "deferredRevenue": deferred,
        "otherCurrentLiabilities": other,
        "totalCurrentLiabilities": payable + other_payable + accrued + debt + deferred + other,
    }


def _other_liabilities(company: Figures) -> Row:
    debt, other = company.total_debt - money(company.total_debt * 0.15), money(company.total_assets * 0.08)
    current = _current_liabilities(company)["totalCurrentLiabilities"]
    return {
        "longTermDebt": debt,
        "capitalLeaseObligationsNonCurrent": 0,
        "deferredRevenueNonCurrent": 0,
        "deferredTaxLiabilitiesNonCurrent": 0,
        "otherNonCurrentLiabilities": other,
        "totalNonCurrentLiabilities": debt + other,
        "otherLiabilities": 0,
        "capitalLeaseObligations": 0,
        "totalLiabilities": current + debt + other,
    }


def _equity(company: Figures) -> Row:
    equity = company.total_assets - _other_liabilities(company)["totalLiabilities"]
    common, comprehensive = money(equity * 0.45), -money(company.total_assets * 0.01)
    return {
        "treasuryStock": 0,
        "preferredStock": 0,
        "commonStock": common,
        "retainedEarnings": equity - common - comprehensive,
        "additionalPaidInCapital": 0,
        "accumulatedOtherComprehensiveIncomeLoss": comprehensive,
        "otherTotalStockholdersEquity": 0,
        "totalStockholdersEquity": equity,
        "totalEquity": equity,
        "minorityInterest": 0,
    }


def _totals(company: Figures) -> Row:
    short_term = _current_assets(company)["shortTermInvestments"]
    return {
        "totalLiabilitiesAndTotalEquity": company.total_assets,
        "totalInvestments": short_term + _other_assets(company)["longTermInvestments"],
        "totalDebt": company.total_debt,
        "netDebt": company.total_debt - company.cash,
    }
