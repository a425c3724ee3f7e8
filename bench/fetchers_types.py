"""The table of what `make bench-fetchers` measures: for each data type a body, our way to rows, and pydantic's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from daemon.contracts import Fetched, Row
from daemon.fetchers import (
    available_exchanges,
    decode,
    dividend_history,
    exchange_market_status,
    exchange_variants,
    financial_statements,
    grades_historical,
    profile,
    quote,
    ratios_ttm,
    revenue_segmentation,
    shares_float,
)
from daemon.fetchers.shape import Shape, read_list
from devstack.upstream.endpoints import ask
from devstack.upstream.listings import listings
from devstack.upstream.market import Market
from devstack.upstream.wire import encode

QUOTES = 100
"""Of one body: what one call brings."""

_PYDANTIC_TYPES: Mapping[Callable[[Any], Any], Any] = {
    decode.number: float | None,
    decode.unquoted: float | None,
    decode.anything: Any,
    decode.whole: Annotated[float | None, Field(allow_inf_nan=False)],  # whole numbers come with fractions
    decode.count: Annotated[float | None, Field(allow_inf_nan=False)],
    decode.year: int | None,
    decode.text: str | None,
    decode.code: str | None,
    decode.flag: bool | None,
    decode.day: str | None,
    decode.utc: str | None,
    decode.eastern: str | None,
    decode.figures: dict[str, float | None] | None,
}
"""What pydantic checks where we convert; that a quoted number is one, a date a date, is left out in its favour."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True, slots=True)
class Case:
    """One data type: bytes in, rows out, in two ways."""

    data_type: str
    records: int
    """In the body."""
    body: bytes
    parse: Callable[[bytes], Sequence[Row]]
    """The fetcher's own, all checks included."""
    model: type[BaseModel]

    def pydantic(self) -> Callable[[bytes], Sequence[Row]]:
        """Return how pydantic gets from the same bytes to the same rows."""
        adapter = TypeAdapter(list[self.model])  # type: ignore[name-defined]
        return lambda body: [record.model_dump() for record in adapter.validate_json(body)]


def build_cases() -> Sequence[Case]:
    """Return a case for every data type; a new one joins here."""
    market = Market(time.time)
    companies = [symbol for symbol, listing in listings().items() if listing.kind == "stock"]
    one, many = companies[0], companies[:QUOTES]
    income = "income-statement"

    def statements(body: bytes) -> Sequence[Row]:
        return read_list(body, financial_statements.STATEMENTS[income], income, {"symbol": one}).rows

    def hours(body: bytes) -> Sequence[Row]:
        return exchange_market_status.parse(body, {}).rows or ()

    def case(name: str, module: Any, shape: Shape, endpoint: str, **params: str) -> Case:
        body = _body(market, endpoint, **(params or {"symbol": one}))
        return Case(name, _count(body), body, lambda body: module.parse(body, one).rows or (), _model(name, shape))

    batch, everything = _body(market, "batch-quote", symbols=",".join(many)), {"extended": "no"}
    annual, feed = _body(market, income, symbol=one, period="annual", limit="40"), "all-exchange-market-hours"
    return (
        Case("quote", len(many), batch, lambda body: _rows(quote.parse(body, many).values()), _model("q", quote.QUOTE)),
        case("profile", profile, profile.PROFILE, "profile"),
        Case(
            "financial-statements",
            _count(annual),
            annual,
            statements,
            _model("statement", financial_statements.STATEMENTS[income]),
        ),
        case("ratios-ttm", ratios_ttm, ratios_ttm.RATIOS, "ratios-ttm"),
        case("dividend-history", dividend_history, dividend_history.DIVIDEND, "dividends", symbol=one, limit="1000"),
        case("shares-float", shares_float, shares_float.FLOAT, "shares-float"),
        case(
            "revenue-segmentation",
            revenue_segmentation,
            revenue_segmentation.SEGMENTATION,
            "revenue-product-segmentation",
        ),
        case("grades-historical", grades_historical, grades_historical.GRADES, "grades-historical"),
        case("exchange-variants", exchange_variants, exchange_variants.VARIANT, "search-exchange-variants"),
        case(
            "available-exchanges",
            available_exchanges,
            available_exchanges.EXCHANGE,
            "available-exchanges",
            **everything,
        ),
        Case(
            "exchange-market-status",
            _count(_body(market, feed)),
            _body(market, feed),
            hours,
            _model("hours", exchange_market_status.HOURS),
        ),
    )


def _count(body: bytes) -> int:
    return len(decode.records(body, "body"))


def _body(market: Market, endpoint: str, **params: str) -> bytes:
    rows = ask(market, endpoint, params)
    assert isinstance(rows, list)
    return encode(rows)


def _rows(found: Any) -> list[Row]:
    rows: list[Row] = []
    for fetched in found:
        assert isinstance(fetched, Fetched), f"{fetched}"
        rows.extend(fetched.rows or ())
    return rows


def _model(name: str, shape: Shape) -> type[BaseModel]:
    """Return a model of the same fields: those of the identity are certain to be there, the others may be null.

    Figures that we keep as JSON are fields as well: we check each of them, too, and they are what a row is made of.
    """
    certain: dict[str, Any] = {
        known.column: (_PYDANTIC_TYPES[known.convert], Field(alias=known.name)) for known in shape.identity
    }
    optional: dict[str, Any] = {
        known.column: (_PYDANTIC_TYPES[known.convert], Field(None, alias=known.name)) for known in shape.optional
    }
    figures: dict[str, Any] = dict.fromkeys(shape.figures, (float | None, None))
    return create_model(name, __base__=_Wire, **certain, **optional, **figures)
