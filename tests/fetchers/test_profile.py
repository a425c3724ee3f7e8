"""Profiles: two fields of identity, everything else optional, and the conditional request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from daemon.contracts import Answer, Fetched, FetchError, FetchErrorKind, FetchRequest
from daemon.fetchers.profile import PROFILE as SHAPE
from daemon.fetchers.profile import ProfileFetcher, parse
from tests.fetchers.findings import row_of as only_row
from tests.fetchers.upstream_stub import UpstreamStub, good
from tests.fetchers.wire_rows import PROFILE, profiles

NOTHING = {known.column: None for known in SHAPE.optional}


def row_of(body: bytes) -> dict[str, Any]:
    return only_row(parse(body, "ACME"))


def test_a_profile_becomes_a_row_of_its_table() -> None:
    row = row_of(profiles({}))

    assert set(row) == {"symbol", "company_name", *NOTHING}
    assert sorted(map(str, row.values())) == sorted(map(str, PROFILE.values()))
    assert [row["market_cap"], row["exchange_full_name"], row["full_time_employees"]] == [
        5000000000,
        "New York Stock Exchange",
        166000,
    ]
    assert json.loads(json.dumps(row, allow_nan=False)) == row


@pytest.mark.parametrize("nothing", [None, "", "\0", [1], {"a": 1}])
def test_every_field_but_symbol_and_name_may_be_missing(nothing: object) -> None:
    row = row_of(profiles({name: nothing for name in PROFILE if name not in {"symbol", "companyName"}}))

    assert row == NOTHING | {"symbol": "ACME", "company_name": "Acme Corporation"}


def test_fields_can_be_absent_and_unknown_ones_are_ignored() -> None:
    row = row_of(b'[{"symbol": "ACME", "companyName": "Acme", "invented": [1, 2]}]')

    assert row == NOTHING | {"symbol": "ACME", "company_name": "Acme"}


def test_flags_and_figures_may_be_quoted() -> None:
    row = row_of(profiles({"isEtf": "true", "isFund": "false", "beta": "1.25", "fullTimeEmployees": "about ten"}))

    assert [row["is_etf"], row["is_fund"], row["beta"], row["full_time_employees"]] == [True, False, 1.25, None]


@pytest.mark.parametrize("name", [None, "", 7, "\0"])
def test_a_profile_without_a_company_name_is_malformed(name: object) -> None:
    with pytest.raises(FetchError) as caught:
        parse(profiles({"companyName": name}), "ACME")

    assert caught.value.kind is FetchErrorKind.MALFORMED
    assert "companyName" in str(caught.value)


@pytest.mark.parametrize(("symbol", "kind"), [("BOLT", FetchErrorKind.WRONG_SYMBOL), (None, FetchErrorKind.MALFORMED)])
def test_a_profile_of_something_else_is_refused(symbol: str | None, kind: FetchErrorKind) -> None:
    with pytest.raises(FetchError) as caught:
        parse(profiles({"symbol": symbol}), "ACME")

    assert caught.value.kind is kind


def test_the_profile_is_found_among_others() -> None:
    assert row_of(profiles({"symbol": "BOLT"}, {}, {"symbol": "COIL"}))["symbol"] == "ACME"


async def test_an_unknown_symbol_has_no_rows() -> None:
    upstream = UpstreamStub([good(b"[]", 'W/"2-x"')])

    found = await ProfileFetcher().fetch([FetchRequest("ACME")], upstream)

    assert found == {"ACME": Fetched(rows=(), etag='W/"2-x"')}


async def test_a_known_profile_is_asked_for_conditionally() -> None:
    upstream = UpstreamStub([good(profiles({}), '"new"')])

    found = await ProfileFetcher().fetch([FetchRequest("ACME", etag='"old"')], upstream)

    assert upstream.asked == [("profile", {"symbol": "ACME"}, '"old"')]
    assert isinstance(found["ACME"], Fetched)
    assert found["ACME"].etag == '"new"'
    assert found["ACME"].source_timestamp is None


async def test_a_profile_that_has_not_changed_keeps_its_etag() -> None:
    upstream = UpstreamStub([Answer(304, b"", None, 200)])

    found = await ProfileFetcher().fetch([FetchRequest("ACME", etag='"old"')], upstream)

    assert found == {"ACME": Fetched(rows=None, etag='"old"')}


async def test_an_answer_without_an_etag_forgets_the_old_one() -> None:
    upstream = UpstreamStub([good(profiles({}))])

    found = await ProfileFetcher().fetch([FetchRequest("ACME", etag='"old"')], upstream)

    assert isinstance(found["ACME"], Fetched)
    assert found["ACME"].etag is None
