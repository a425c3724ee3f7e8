"""Records in the shape of the upstream's, with values of our own."""

from __future__ import annotations

import json
from typing import Any

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


def quotes(*changes: dict[str, Any]) -> bytes:
    """Return an answer with one quote for each of ``changes``."""
    return json.dumps([QUOTE | change for change in changes]).encode()


def profiles(*changes: dict[str, Any]) -> bytes:
    """Return an answer with one profile for each of ``changes``."""
    return json.dumps([PROFILE | change for change in changes]).encode()
