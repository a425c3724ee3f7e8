"""The table of what `make bench-fetchers` measures: for each data type a body, our way to rows, and pydantic's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model
from pydantic.alias_generators import to_camel

from daemon.contracts import Fetched, Row
from daemon.fetchers import decode, profile, quote
from devstack.upstream.endpoints import ask
from devstack.upstream.listings import listings
from devstack.upstream.market import Market
from devstack.upstream.wire import encode

QUOTES = 100
"""Of one body: what one call brings."""

_PYDANTIC_TYPES: Mapping[Callable[[Any], Any], Any] = {
    decode.number: float | None,
    decode.whole: Annotated[float | None, Field(allow_inf_nan=False)],  # whole numbers come with fractions
    decode.text: str | None,
    decode.flag: bool | None,
    decode.day: str | None,
}
"""What pydantic checks where we convert; that a quoted number is one, a date a date, is left out in its favour."""


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")


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
    return (
        Case(
            "quote",
            len(many),
            _body(market, "batch-quote", symbols=",".join(many)),
            lambda body: _rows(quote.parse(body, many).values()),
            _model("Quote", quote.COLUMNS, price=(Annotated[float, Field(ge=0, lt=1e6)], ...), timestamp=(float, ...)),
        ),
        Case(
            "profile",
            1,
            _body(market, "profile", symbol=one),
            lambda body: profile.parse(body, one),
            _model("Profile", profile.COLUMNS, company_name=(str, ...)),
        ),
    )


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


def _model(name: str, columns: Mapping[str, Callable[[Any], Any]], **certain: Any) -> type[BaseModel]:
    """Return a model with a symbol, what is certain to be there, and the columns that may be null."""
    optional: dict[str, Any] = {column: (_PYDANTIC_TYPES[convert], None) for column, convert in columns.items()}
    return create_model(name, __base__=_Wire, symbol=(str, ...), **certain, **optional)
