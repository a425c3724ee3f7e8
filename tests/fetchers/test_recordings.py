"""The parsers against recorded answers of the real upstream, where these are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon.contracts import Fetched, FetchErrorKind
from daemon.fetchers import answers, profile, quote
from tests.fetchers.findings import row_of

RECORDINGS = Path(
    os.environ.get("REFRESHD_RECORDINGS", Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "fmp")
)

KINDS = {
    "400.missing-parameter.txt": FetchErrorKind.BAD_REQUEST,
    "401.invalid-api-key.json": FetchErrorKind.UNAUTHORISED,
    "402.premium-limit.txt": FetchErrorKind.PLAN,
    "402.restricted-endpoint.txt": FetchErrorKind.PLAN,
    "403.account-suspended.json": FetchErrorKind.UNAUTHORISED,
    "403.legacy-endpoint.json": FetchErrorKind.PLAN,
    "429.limit-reach.json": FetchErrorKind.RATE_LIMITED,
}


def recording(name: str) -> bytes:
    path = RECORDINGS / name
    if not path.is_file():
        pytest.skip(f"no recording {name}: set REFRESHD_RECORDINGS to the directory that holds it")
    return path.read_bytes()


def test_the_recorded_quote_is_a_row() -> None:
    found = quote.parse(recording("quote.AAPL.json"), ["AAPL"])["AAPL"]

    assert isinstance(found, Fetched)
    assert found.rows is not None
    assert None not in found.rows[0].values()
    assert found.rows[0]["market_cap"] == 4603751738200
    assert found.rows[0]["source_timestamp"] == "2026-08-26T20:00:00+00:00"


def test_the_recorded_short_quotes_are_rows() -> None:
    found = quote.parse(recording("batch-quote-short.AAPL-MSFT.json"), ["MSFT", "AAPL"])

    assert isinstance(found["MSFT"], Fetched)
    assert found["MSFT"].rows
    assert found["MSFT"].rows[0]["price"] == 496.37


def test_the_recorded_profile_is_a_row() -> None:
    row = row_of(profile.parse(recording("profile.AAPL.2026.json"), "AAPL"))

    assert None not in row.values()
    assert row["full_time_employees"] == 166000
    assert row["ipo_date"] == "1980-12-12"
    assert len(row) == 36


def test_the_recorded_answer_about_an_unknown_symbol_has_no_rows() -> None:
    assert quote.parse(recording("errors/200.unknown-symbol.json"), ["NONE"]) == {"NONE": Fetched(rows=())}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_a_recorded_error_has_its_kind(name: str, kind: FetchErrorKind) -> None:
    error = answers.failure(int(name[:3]), {}, recording(f"errors/{name}"), about="quote", secret="unused")

    assert error.kind is kind
