"""Endpoint ``ratios-ttm``: 61 figures that follow from the last annual statements and the price of the moment.

A ratio whose divisor is zero is 0: the upstream has no other word for "not available".
"""

from __future__ import annotations

from collections.abc import Mapping

from devstack.upstream.balance_sheet import sheet
from devstack.upstream.figures import Figures, figures
from devstack.upstream.market import Market
from devstack.upstream.particulars import particulars
from devstack.upstream.periods import last_year
from devstack.upstream.quotes import quote_row
from devstack.upstream.walk import seeded
from devstack.upstream.wire import Row, number


def ratios_ttm(market: Market, params: Mapping[str, str]) -> list[Row]:
    """Answer ``ratios-ttm?symbol=A``: one row, none for what is no company."""
    listing = market.listings.get(params["symbol"])
    if listing is None or not listing.is_company:
        return []
    company = figures(listing, last_year(market, listing))
    balance, price = sheet(company), quote_row(market, listing)["price"]
    growth = seeded(listing.symbol, "growth").uniform(5, 30)
    paid = particulars(listing).dividend_per_share
    row = (
        _margins(company)
        | _turnovers(company, balance)
        | _liquidity(company, balance)
        | _valuation(company, balance, price, growth)
        | _leverage(company, balance)
        | _coverage(company, balance)
        | {"dividendPayoutRatioTTM": _ratio(company.dividends, company.net_income)}
        | {"dividendYieldTTM": _ratio(paid, price)}
        | {"enterpriseValueTTM": _enterprise_value(company, price)}
        | _per_share(company, balance)
        | _remainder(company, balance, price, paid)
    )
    return [{"symbol": listing.symbol} | row]


def _ratio(dividend: float, divisor: float) -> float:
    return number(dividend / divisor) if divisor else 0


def _enterprise_value(company: Figures, price: float) -> float:
    return number(price * company.shares + company.total_debt - company.cash)


def _margins(company: Figures) -> Row:
    ebit = company.pretax_income + company.interest
    net = _ratio(company.net_income, company.revenue)
    return {
        "grossProfitMarginTTM": _ratio(company.gross_profit, company.revenue),
        "ebitMarginTTM": _ratio(ebit, company.revenue),
        "ebitdaMarginTTM": _ratio(ebit + company.depreciation, company.revenue),
        "operatingProfitMarginTTM": _ratio(company.operating_income, company.revenue),
        "pretaxProfitMarginTTM": _ratio(company.pretax_income, company.revenue),
        "continuousOperationsProfitMarginTTM": net,
        "netProfitMarginTTM": net,
        "bottomLineProfitMarginTTM": net,
    }


def _turnovers(company: Figures, balance: Row) -> Row:
    return {
        "receivablesTurnoverTTM": _ratio(company.revenue, balance["netReceivables"]),
        "payablesTurnoverTTM": _ratio(company.cost, balance["accountPayables"]),
        "inventoryTurnoverTTM": _ratio(company.cost, balance["inventory"]),
        "fixedAssetTurnoverTTM": _ratio(company.revenue, balance["propertyPlantEquipmentNet"]),
        "assetTurnoverTTM": _ratio(company.revenue, balance["totalAssets"]),
    }


def _liquidity(company: Figures, balance: Row) -> Row:
    current, owed = balance["totalCurrentAssets"], balance["totalCurrentLiabilities"]
    return {
        "currentRatioTTM": _ratio(current, owed),
        "quickRatioTTM": _ratio(current - balance["inventory"], owed),
        "solvencyRatioTTM": _ratio(company.net_income + company.depreciation, balance["totalLiabilities"]),
        "cashRatioTTM": _ratio(company.cash, owed),
    }


def _valuation(company: Figures, balance: Row, price: float, growth: float) -> Row:
    value = price * company.shares
    earnings = _ratio(value, company.net_income)
    diluted = _ratio(price * company.diluted_shares, company.net_income)
    return {
        "priceToEarningsRatioTTM": earnings,
        "priceToEarningsGrowthRatioTTM": _ratio(earnings, growth),
        "forwardPriceToEarningsGrowthRatioTTM": _ratio(earnings, growth / 2),
        "priceToEarningsDilutedRatioTTM": diluted,
        "priceToEarningsDilutedGrowthRatioTTM": _ratio(diluted, growth),
        "priceToBookRatioTTM": _ratio(value, balance["totalEquity"]),
        "priceToSalesRatioTTM": _ratio(value, company.revenue),
        "priceToFreeCashFlowRatioTTM": _ratio(value, company.free_cash_flow),
        "priceToOperatingCashFlowRatioTTM": _ratio(value, company.operating_cash_flow),
    }


def _leverage(company: Figures, balance: Row) -> Row:
    debt, equity = company.total_debt, balance["totalEquity"]
    working_capital = balance["totalCurrentAssets"] - balance["totalCurrentLiabilities"]
    long_term = balance["longTermDebt"]
    return {
        "debtToAssetsRatioTTM": _ratio(debt, company.total_assets),
        "debtToEquityRatioTTM": _ratio(debt, equity),
        "debtToCapitalRatioTTM": _ratio(debt, debt + equity),
        "longTermDebtToCapitalRatioTTM": _ratio(long_term, long_term + equity),
        "financialLeverageRatioTTM": _ratio(company.total_assets, equity),
        "workingCapitalTurnoverRatioTTM": _ratio(company.revenue, working_capital),
    }


def _coverage(company: Figures, balance: Row) -> Row:
    operating = company.operating_cash_flow
    return {
        "operatingCashFlowRatioTTM": _ratio(operating, balance["totalCurrentLiabilities"]),
        "operatingCashFlowSalesRatioTTM": _ratio(operating, company.revenue),
        "freeCashFlowOperatingCashFlowRatioTTM": _ratio(company.free_cash_flow, operating),
        "debtServiceCoverageRatioTTM": _ratio(operating, company.interest + balance["shortTermDebt"]),
        "interestCoverageRatioTTM": _ratio(company.operating_income, company.interest),
        "shortTermOperatingCashFlowCoverageRatioTTM": _ratio(operating, balance["shortTermDebt"]),
        "operatingCashFlowCoverageRatioTTM": _ratio(operating, company.total_debt),
        "capitalExpenditureCoverageRatioTTM": _ratio(operating, company.capital_expenditure),
        "dividendPaidAndCapexCoverageRatioTTM": _ratio(operating, company.capital_expenditure + company.dividends),
    }


def _per_share(company: Figures, balance: Row) -> Row:
    book = _ratio(balance["totalEquity"], company.shares)
    tangible = balance["totalEquity"] - balance["goodwillAndIntangibleAssets"]
    return {
        "revenuePerShareTTM": _ratio(company.revenue, company.shares),
        "netIncomePerShareTTM": _ratio(company.net_income, company.shares),
        "interestDebtPerShareTTM": _ratio(company.total_debt + company.interest, company.shares),
        "cashPerShareTTM": _ratio(company.cash, company.shares),
        "bookValuePerShareTTM": book,
        "tangibleBookValuePerShareTTM": _ratio(tangible, company.shares),
        "shareholdersEquityPerShareTTM": book,
        "operatingCashFlowPerShareTTM": _ratio(company.operating_cash_flow, company.shares),
        "capexPerShareTTM": _ratio(company.capital_expenditure, company.shares),
        "freeCashFlowPerShareTTM": _ratio(company.free_cash_flow, company.shares),
    }


def _remainder(company: Figures, balance: Row, price: float, paid: float) -> Row:
    value, ebit = price * company.shares, company.pretax_income + company.interest
    return {
        "netIncomePerEBTTTM": _ratio(company.net_income, company.pretax_income),
        "ebtPerEbitTTM": _ratio(company.pretax_income, ebit),
        "priceToFairValueTTM": _ratio(value, balance["totalEquity"]),
        "debtToMarketCapTTM": _ratio(company.total_debt, value),
        "effectiveTaxRateTTM": _ratio(company.tax, company.pretax_income),
        "enterpriseValueMultipleTTM": _ratio(_enterprise_value(company, price), ebit + company.depreciation),
        "dividendPerShareTTM": number(paid),
    }
