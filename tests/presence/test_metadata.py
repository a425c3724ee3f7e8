"""Reading untrusted metas."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.contracts import Pair
from daemon.presence.metadata import MAX_META_BYTES, MAX_PAIRS, MAX_VIEWER_BYTES, SYMBOL, View, ViewerRules, read_meta
from daemon.tickets import Tickets
from tests.presence.json_values import payloads, texts
from tests.presence.stage import AnySymbol

AAPL = Pair("AAPL", "quote")


class GlobalNews:
    """A catalogue in which everything means one and the same pair."""

    def resolve(self, _symbol: str, data_type: str) -> Pair | str:
        """Return the global pair."""
        return Pair("GLOBAL", data_type)


class Everything:
    """A catalogue that knows every symbol and every data type."""

    def resolve(self, symbol: str, data_type: str) -> Pair | str:
        """Return the pair."""
        return Pair(symbol, data_type)


def read(meta: dict[str, Any], drops: Counter[str] | None = None) -> View | None:
    return read_meta("key", "ref", meta, AnySymbol(), Counter() if drops is None else drops)


def pairs_of(meta: dict[str, Any], drops: Counter[str] | None = None) -> frozenset[Pair]:
    view = read(meta, drops)
    assert view is not None
    return frozenset(view.pairs)


def test_a_lobby_page_names_its_pairs_by_symbol() -> None:
    meta = {"userId": "ada", "views": {"AAPL": ["quote", "profile"], "^GSPC": ["quote"]}, "phx_ref": "r"}

    view = read(meta)

    assert view == View("user:ada", (Pair("AAPL", "profile"), AAPL, Pair("^GSPC", "quote")))


def test_a_symbol_topic_names_one_symbol() -> None:
    meta = {"symbol": "AAPL", "dataTypes": ["quote"], "userId": "ada", "subscribedAt": "2026-08-01T00:00:00Z"}

    view = read(meta)

    assert view == View("user:ada", (AAPL,))


def test_a_page_that_shows_nothing_is_no_error() -> None:
    drops = Counter[str]()

    pairs = pairs_of({"userId": "ada", "views": {}}, drops)

    assert pairs == frozenset()
    assert not drops


def test_the_catalogue_decides_what_a_request_means() -> None:
    meta = {"views": {"AAPL": ["news"], "MSFT": ["news"]}}

    view = read_meta("key", "ref", meta, GlobalNews(), Counter())

    assert view is not None
    assert view.pairs == (Pair("GLOBAL", "news"),)


def test_what_the_catalogue_does_not_know_is_dropped_by_its_reason() -> None:
    drops = Counter[str]()

    pairs = pairs_of({"views": {"AAPL": ["quote", "horoscope"]}}, drops)

    assert pairs == {AAPL}
    assert drops == {"unknown_data_type": 1}


@pytest.mark.parametrize("symbol", ["AAPL\n", "aapl", "", "A" * 21, ".A", "-A", "=A", "A B", "A\x00", "А"])  # noqa: RUF001
def test_a_symbol_that_is_none_is_dropped(symbol: str) -> None:
    drops = Counter[str]()

    pairs = pairs_of({"views": {symbol: ["quote"], "AAPL": ["quote"]}}, drops)

    assert pairs == {AAPL}
    assert drops == {"malformed_symbol": 1}


@pytest.mark.parametrize("symbol", ["A", "^GSPC", "BRK-B", "BRK.B", "ES=F", "9988.HK", "A" * 20, "^^"])
def test_a_symbol_that_is_one_is_kept(symbol: str) -> None:
    assert pairs_of({"symbol": symbol, "dataTypes": ["quote"]}) == {Pair(symbol, "quote")}


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"views": {"AAPL": ["x" * MAX_META_BYTES]}}, "oversized_meta"),
        ({str(number): 1 for number in range(11)}, "too_many_keys"),
        ({"views": {"AAPL": ["\ud800"]}}, "malformed_meta"),
        ({"n": 10**30}, "malformed_meta"),
    ],
)
def test_a_meta_beyond_the_bounds_is_dropped_whole(meta: dict[str, Any], reason: str) -> None:
    drops = Counter[str]()

    view = read(meta, drops)

    assert view is None
    assert drops == {reason: 1}


def test_what_the_server_adds_is_outside_the_bounds() -> None:
    meta = {str(number): 1 for number in range(10)}

    assert read({**meta, "phx_ref": "x" * MAX_META_BYTES, "phx_ref_prev": "y"}) is not None


def test_a_deeply_nested_meta_is_dropped() -> None:
    drops = Counter[str]()
    meta: dict[str, Any] = {}
    for _ in range(900):
        meta = {"x": meta}

    view = read(meta, drops)

    assert view is None
    assert drops == {"malformed_meta": 1}


def test_more_data_types_than_twenty_are_dropped() -> None:
    drops = Counter[str]()

    pairs = pairs_of({"views": {"AAPL": [*["profile"] * 20, "quote", "quote"]}}, drops)

    assert pairs == {Pair("AAPL", "profile")}
    assert drops == {"too_many_data_types": 2}


def test_more_pairs_than_a_hundred_are_dropped_always_the_same() -> None:
    drops = Counter[str]()
    pairs = [Pair(f"S{number:02}", f"t{letter}") for number in range(12) for letter in "abcdefghij"]
    views = {f"S{number:02}": [f"t{letter}" for letter in "jihgfedcba"] for number in reversed(range(12))}

    view = read_meta("key", "ref", {"views": views}, Everything(), drops)

    assert view is not None
    assert set(view.pairs) == set(pairs[:100])
    assert drops == {"too_many_pairs": 20}


@pytest.mark.parametrize("user", ["", "x" * 129, "a\nb", "a\x00b", 7, True, {}, []])
def test_an_unusable_user_counts_as_its_connection(user: Any) -> None:
    drops = Counter[str]()

    view = read({"userId": user, "views": {}}, drops)

    assert view == View("conn:key:ref", ())
    assert drops == {"invalid_user_id": 1}


def test_a_viewer_without_a_user_counts_as_its_connection_and_nothing_is_dropped() -> None:
    drops = Counter[str]()

    view = read({"views": {}}, drops)

    assert view == View("conn:key:ref", ())
    assert not drops


def viewer_of(user: str | None, key: str = "key", ref: str = "ref") -> str:
    meta = {} if user is None else {"userId": user}
    view = read_meta(key, ref, meta, Everything(), Counter())
    assert view is not None
    return view.viewer


def assert_storable(viewer: str) -> None:
    """Assert that PostgreSQL takes it: UTF-8 without lone surrogates, within the bound of the table, without NUL."""
    assert len(viewer.encode()) <= MAX_VIEWER_BYTES
    assert viewer.isprintable()


def test_a_user_whose_name_fits_is_named_in_full() -> None:
    assert viewer_of("漢" * 80) == "user:" + "漢" * 80


@pytest.mark.parametrize("character", ["漢", "é" * 2, "\U0001f600"])
def test_users_whose_long_names_differ_at_the_end_are_two_viewers_that_can_be_stored(character: str) -> None:
    name = (character * 127)[:127]

    ann, bob = viewer_of(name + "a"), viewer_of(name + "b")

    assert ann != bob
    assert ann.startswith("user:" + name[:50])
    assert viewer_of(name + "a") == ann
    assert_storable(ann)
    assert_storable(bob)


def test_connections_whose_long_keys_or_refs_differ_at_the_end_are_two_viewers_that_can_be_stored() -> None:
    key, ref = "漢" * 255, "r" * 63

    viewers = {viewer_of(None, key + a, ref + b) for a in "xy" for b in "xy"}

    assert len(viewers) == 4
    for viewer in viewers:
        assert_storable(viewer)


def test_connections_that_differ_in_what_postgresql_cannot_store_are_two_viewers_that_can_be_stored() -> None:
    viewers = {viewer_of(None, f"k{character}") for character in ["\x00", "\ud800", "\udfff", "\n", "\x7f"]}

    assert len(viewers) == 5
    for viewer in viewers:
        assert viewer.startswith("conn:k:ref~")
        assert_storable(viewer)


TICKETS = Tickets(["k" * 32], grace_seconds=60)
NOW = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)
CLAIMED = ViewerRules(verify=lambda ticket: TICKETS.verify(ticket, NOW))
TICKET = replace(CLAIMED, ticket_required=True)


@pytest.mark.parametrize("rules", [CLAIMED, TICKET])
def test_a_good_ticket_says_who_the_viewer_is_whatever_the_page_claims(rules: ViewerRules) -> None:
    meta = {"userId": "eve", "ticket": TICKETS.issue("ada", NOW)}

    view = read_meta("key", "ref", meta, AnySymbol(), Counter(), rules)

    assert view == View("user:ada", (), verified=True)


@pytest.mark.parametrize(("rules", "viewer"), [(CLAIMED, "user:ada"), (TICKET, "conn:key:ref")])
@pytest.mark.parametrize(
    ("ticket", "reasons"),
    [({}, {}), ({"ticket": 7}, {"ticket_malformed": 1}), ({"ticket": "1.9.AAAA." + "A" * 43}, {"ticket_forged": 1})],
)
def test_without_a_good_ticket_a_claim_is_worth_what_the_rules_say(
    rules: ViewerRules, viewer: str, ticket: dict[str, Any], reasons: dict[str, int]
) -> None:
    drops = Counter[str]()

    view = read_meta("key", "ref", {"userId": "ada", **ticket}, AnySymbol(), drops, rules)

    assert view == View(viewer, (), verified=False)
    assert drops == reasons


any_text = st.text(st.characters(exclude_categories=()), max_size=300)


@settings(deadline=None)
@given(user=st.none() | any_text | st.text(min_size=60, max_size=128), key=any_text, ref=any_text)
def test_no_user_key_or_ref_makes_a_viewer_that_cannot_be_stored(user: str | None, key: str, ref: str) -> None:
    view = read_meta(key, ref, {"userId": user}, Everything(), Counter())

    if view is not None:  # a userId that is no Unicode drops the whole meta
        assert_storable(view.viewer)


@settings(max_examples=300, deadline=None)
@given(key=texts, ref=texts, meta=payloads | st.dictionaries(texts, payloads, max_size=12))
def test_nothing_that_json_can_say_raises_or_gets_out_of_bounds(key: str, ref: str, meta: dict[str, Any]) -> None:
    drops = Counter[str]()

    view = read_meta(key, ref, meta, AnySymbol(), drops)

    assert all(number > 0 for number in drops.values())
    assert len(drops) < 12
    if view is not None:
        assert len(view.pairs) <= MAX_PAIRS
        assert all(SYMBOL.fullmatch(pair.symbol) for pair in view.pairs)
        assert view.viewer.startswith(("user:", "conn:"))
        assert_storable(view.viewer)
        orjson.dumps(view.viewer)
