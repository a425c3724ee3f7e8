"""Records in the shape of the upstream's, with values of our own."""

from __future__ import annotations

import json
from typing import Any

from daemon.fetchers.ratios_ttm import FIGURES
from daemon.fetchers.statement_fields import BALANCE_SHEET_STATEMENT, CASH_FLOW_STATEMENT, INCOME_STATEMENT

QUOTE: dict[str, Any] = {
    "symbol": "ACME",
    "name": "Acme Corporation",
    "price": 101.25,
    "changePercentage": 1.5,
    "change": 1.5,
    "volume": 1234567,
    "dayLow": 99.5,
    "dayHigh": 102.0,
    "yearHigh": 140.0,
    "yearLow": 80.25,
    "marketCap": 5000000000,
    "priceAvg50": 100.5,
    "priceAvg200": 95.75,
    "exchange": "NYSE",
    "open": 100.0,
    "previousClose": 99.75,
    "timestamp": 1787774400,
}

PROFILE: dict[str, Any] = {
    "symbol": "ACME",
    "price": 101.25,
    "marketCap": 5000000000,
    "beta": 1.1,
    "lastDividend": 0.5,
    "range": "80.25-140",
    "change": 1.5,
    "changePercentage": 1.5,
    "volume": 1234567,
    "averageVolume": 2345678,
    "companyName": "Acme Corporation",
    "currency": "USD",
    "cik": "0000012345",
    "isin": "US0000000001",
    "cusip": "000000000",
    "exchangeFullName": "New York Stock Exchange",
    "exchange": "NYSE",
    "industry": "Anvils",
    "website": "https://acme.example",
    "description": "Makes anvils.",
    "ceo": "W. E. Coyote",
    "sector": "Industrials",
    "country": "US",
    "fullTimeEmployees": "166000",
    "phone": "555 0100",
    "address": "1 Canyon Road",
    "city": "Flagstaff",
    "state": "AZ",
    "zip": "86001",
    "image": "https://images.example/ACME.png",
    "ipoDate": "1980-12-12",
    "defaultImage": False,
    "isEtf": False,
    "isActivelyTrading": True,
    "isAdr": False,
    "isFund": False,
}


RATIOS: dict[str, Any] = {"symbol": "ACME"} | {name: index / 8 for index, name in enumerate(FIGURES.split())}

DIVIDEND: dict[str, Any] = {
    "symbol": "ACME",
    "date": "2026-08-10",
    "recordDate": "2026-08-11",
    "paymentDate": "2026-08-13",
    "declarationDate": "2026-07-30",
    "adjDividend": 0.27,
    "dividend": 0.54,
    "yield": 0.3438655680269902,
    "frequency": "Quarterly",
}

SHARES_FLOAT: dict[str, Any] = {
    "symbol": "ACME",
    "date": "2026-08-26 23:13:45",
    "freeFloat": 99.87879921341867,
    "floatShares": 25595002.125,
    "outstandingShares": 25625000,
    "source": "https://filings.example/acme-2026.htm",
}

SEGMENTATION: dict[str, Any] = {
    "symbol": "ACME",
    "fiscalYear": 2025,
    "period": "FY",
    "reportedCurrency": "USD",
    "date": "2025-09-27",
    "data": {"Anvils": 33708000000, "Rockets, Skates and Springs": 109158000000.5},
}

GRADES: dict[str, Any] = {
    "symbol": "ACME",
    "date": "2026-08-01",
    "analystRatingsStrongBuy": 6,
    "analystRatingsBuy": 22,
    "analystRatingsHold": 14,
    "analystRatingsSell": 3,
    "analystRatingsStrongSell": 0,
}

VARIANT: dict[str, Any] = {
    name: value
    for name, value in PROFILE.items()
    if name
    not in {"marketCap", "lastDividend", "change", "changePercentage", "volume", "averageVolume", "exchangeFullName"}
} | {
    "mktCap": 78283607480000,
    "lastDiv": 0.5,
    "changes": 1.5,
    "volAvg": 55604384,
    "exchange": "New York Stock Exchange",
    "exchangeShortName": "NYSE",
    "dcfDiff": 170.10931,
    "dcf": 142.8506908215328,
}

EXCHANGE: dict[str, Any] = {
    "exchange": "ASX",
    "name": "Australian Securities Exchange",
    "countryName": "Australia",
    "countryCode": "AU",
    "symbolSuffix": ".AX",
    "delay": "20 min",
}

HOURS: dict[str, Any] = {
    "exchange": "NYSE",
    "name": "New York Stock Exchange",
    "openingHour": "09:30 AM -04:00",
    "closingHour": "04:00 PM -04:00",
    "timezone": "America/New_York",
    "isMarketOpen": True,
}

HOLIDAY: dict[str, Any] = {
    "exchange": "NYSE",
    "date": "2026-12-25",
    "name": "Christmas",
    "isClosed": True,
    "adjOpenTime": None,
    "adjCloseTime": None,
}

STATEMENT: dict[str, Any] = {
    "date": "2025-09-27",
    "symbol": "ACME",
    "reportedCurrency": "USD",
    "cik": "0000012345",
    "filingDate": "2025-10-31",
    "acceptedDate": "2025-10-31 06:01:26",
    "fiscalYear": "2025",
    "period": "FY",
}

STATEMENTS: dict[str, dict[str, Any]] = {
    "income-statement": STATEMENT | dict.fromkeys(INCOME_STATEMENT.split(), 416161000000) | {"eps": 7.49},
    "balance-sheet-statement": STATEMENT | dict.fromkeys(BALANCE_SHEET_STATEMENT.split(), 35934000000),
    "cash-flow-statement": STATEMENT | dict.fromkeys(CASH_FLOW_STATEMENT.split(), -25000000000),
}
"""By endpoint one record of it."""


def answer(record: dict[str, Any], *changes: dict[str, Any]) -> bytes:
    """Return an answer with one record for each of ``changes``."""
    return json.dumps([record | change for change in changes]).encode()


def quotes(*changes: dict[str, Any]) -> bytes:
    """Return an answer with one quote for each of ``changes``."""
    return answer(QUOTE, *changes)


def profiles(*changes: dict[str, Any]) -> bytes:
    """Return an answer with one profile for each of ``changes``."""
    return answer(PROFILE, *changes)
