"""The presence mirror: sentences first, then a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from daemon.contracts import Pair
from daemon.presence.metadata import Drops, View, read_meta
from daemon.presence.mirror import MAX_PENDING, SLICE, Change, Mirror
from tests.presence.json_values import json_values, presences
from tests.presence.stage import AnySymbol, looking_at, state_of


def new_mirror(drops: Drops | None = None) -> Mirror:
    counter = Counter[str]() if drops is None else drops
    mirror = Mirror(partial(read_meta, catalogue=AnySymbol(), drops=counter), counter)
    mirror.await_state()
    return mirror


def exhaust(changes: Iterable[Change]) -> tuple[list[View], list[View]]:
    added, removed = [], []
    for change in changes:
        added += change.added
        removed += change.removed
    return added, removed


def view(user: str, *symbols: str) -> View:
    return View(f"user:{user}", tuple(sorted(Pair(symbol, "quote") for symbol in set(symbols))))


def showing(user: str, *symbols: str) -> dict[str, Any]:
    return looking_at(*symbols, user=user)


def diff(joins: Any = None, leaves: Any = None) -> dict[str, Any]:
    return {"joins": joins or {}, "leaves": leaves or {}}


def test_a_state_adds_everybody() -> None:
    mirror = new_mirror()

    added, removed = exhaust(mirror.apply_state(state_of(a=showing("ada", "AAPL"), b=showing("bob", "MSFT"))))

    assert added == [view("ada", "AAPL"), view("bob", "MSFT")]
    assert removed == []
    assert mirror.synced


def test_what_a_state_holds_beyond_the_bound_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.presence.mirror.MAX_METAS", SLICE + 10)
    drops = Drops()
    state = state_of(**{f"key-{number}": showing(f"user-{number}", "AAPL") for number in range(2 * SLICE)})

    added, _ = exhaust(new_mirror(drops).apply_state(state))

    assert len(added) == SLICE + 10
    assert drops == {"mirror_full": SLICE - 10}


def test_the_next_state_replaces_everything_and_tells_the_difference() -> None:
    mirror = new_mirror()
    exhaust(mirror.apply_state(state_of(a=showing("ada", "AAPL"), b=showing("bob", "MSFT"))))
    mirror.await_state()

    added, removed = exhaust(mirror.apply_state(state_of(b=showing("bob", "MSFT"), c=showing("cem", "NFLX"))))

    assert added == [view("cem", "NFLX")]
    assert removed == [view("ada", "AAPL")]


def test_a_track_again_is_the_new_one_joining_and_the_old_one_leaving() -> None:
    mirror = new_mirror()
    exhaust(mirror.apply_state(state_of(a=showing("ada", "AAPL"))))
    new = {"a": {"metas": [{"phx_ref": "a2", "phx_ref_prev": "a", **showing("ada", "MSFT")}]}}

    added, removed = exhaust(mirror.apply_diff(diff(new, state_of(a=showing("ada", "AAPL")))))

    assert added == [view("ada", "MSFT")]
    assert removed == [view("ada", "AAPL")]
    assert list(mirror.views()) == [view("ada", "MSFT")]


def test_a_forged_previous_ref_takes_nobody_away() -> None:
    mirror = new_mirror()
    exhaust(mirror.apply_state(state_of(a=showing("ada", "AAPL"))))
    forged = {"a": {"metas": [{"phx_ref": "x", "phx_ref_prev": "a", **showing("eve")}]}}

    _, removed = exhaust(mirror.apply_diff(diff(forged)))

    assert removed == []


def test_diffs_before_the_first_state_wait_for_it() -> None:
    mirror = new_mirror()

    early = exhaust(mirror.apply_diff(diff(state_of(b=showing("bob", "MSFT")), state_of(a=showing("ada", "AAPL")))))
    added, removed = exhaust(mirror.apply_state(state_of(a=showing("ada", "AAPL"))))

    assert early == ([], [])
    assert added == [view("ada", "AAPL"), view("bob", "MSFT")]
    assert removed == [view("ada", "AAPL")]
    assert list(mirror.views()) == [view("bob", "MSFT")]


def test_diffs_kept_for_one_join_are_not_applied_to_the_next() -> None:
    mirror = new_mirror()
    exhaust(mirror.apply_diff(diff(state_of(b=showing("bob", "MSFT")))))

    mirror.await_state()
    added, _ = exhaust(mirror.apply_state({}))

    assert added == []


def test_what_is_kept_before_a_state_is_bounded() -> None:
    drops = Counter[str]()
    mirror = new_mirror(drops)

    exhaust(mirror.apply_diff(diff(state_of(**{f"a{number}": {} for number in range(MAX_PENDING + 2)}))))

    assert drops == {"pending_full": 2}


def test_a_big_state_comes_in_slices_and_adds_before_it_removes() -> None:
    mirror = new_mirror()
    exhaust(mirror.apply_state(state_of(**{f"a{n}": showing(f"u{n}", "AAPL") for n in range(SLICE)})))
    mirror.await_state()

    changes = list(mirror.apply_state(state_of(**{f"b{n}": showing(f"u{n}", "AAPL") for n in range(SLICE + 1)})))

    assert [len(change.added) for change in changes] == [SLICE, 1, 0]
    assert [len(change.removed) for change in changes] == [0, 0, SLICE]


@pytest.mark.parametrize("payload", [None, 1, "x", [], [1]])
def test_a_state_that_is_none_is_no_empty_state(payload: Any) -> None:
    drops = Counter[str]()
    mirror = new_mirror(drops)

    exhaust(mirror.apply_state(payload))

    assert not mirror.synced
    assert drops == {"malformed_state": 1}


@pytest.mark.parametrize("meta", [None, 1, {}, {"phx_ref": 1}, {"phx_ref": ""}, {"phx_ref": "x" * 65}, {"phx_ref": []}])
def test_a_meta_without_a_usable_ref_is_dropped_alone(meta: Any) -> None:
    drops = Counter[str]()
    mirror = new_mirror(drops)

    added, _ = exhaust(mirror.apply_state({"a": {"metas": [meta, {"phx_ref": "good", **showing("ada", "AAPL")}]}}))

    assert added == [view("ada", "AAPL")]
    assert drops == {"invalid_phx_ref": 1}


@settings(max_examples=150, deadline=None)
@given(frames=st.lists(st.tuples(st.booleans(), st.fixed_dictionaries({"joins": presences}) | presences | json_values)))
def test_nothing_that_json_can_say_raises_and_the_changes_add_up(frames: list[tuple[bool, Any]]) -> None:
    mirror = new_mirror()
    balance = Counter[View]()

    for is_state, payload in frames:
        added, removed = exhaust(mirror.apply_state(payload) if is_state else mirror.apply_diff(payload))
        balance.update(added)
        balance.subtract(removed)

    assert +balance == Counter(mirror.views())
    assert not -balance


class _MirrorMachine(RuleBasedStateMachine):
    """A server whose presences change while we come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.mirror = new_mirror()
        self.server: dict[tuple[str, str], str] = {}
        self.refs = 0
        self.snapshot: dict[str, Any] | None = None
        """The state on its way to us, taken at our join; diffs after it may overtake it."""
        self.told = Counter[View]()

    @initialize()
    def we_join(self) -> None:
        self._join()

    @rule(key=st.sampled_from("ab"), symbol=st.sampled_from(["AAPL", "MSFT"]))
    def a_page_tracks(self, key: str, symbol: str) -> None:
        self._tell({}, {self._track(key, symbol): symbol})

    @rule(data=st.data(), symbol=st.sampled_from(["AAPL", "MSFT"]))
    def a_page_tracks_again(self, data: st.DataObject, symbol: str) -> None:
        if self.server:
            old = data.draw(st.sampled_from(sorted(self.server)))
            left = {old: self.server.pop(old)}
            self._tell(left, {self._track(old[0], symbol): symbol})

    @rule(data=st.data())
    def a_page_goes(self, data: st.DataObject) -> None:
        if self.server:
            old = data.draw(st.sampled_from(sorted(self.server)))
            self._tell({old: self.server.pop(old)}, {})

    @rule()
    def the_state_comes(self) -> None:
        if self.snapshot is not None:
            state, self.snapshot = self.snapshot, None
            self._note(self.mirror.apply_state(state))

    @rule(restarted=st.booleans())
    def we_join_again(self, restarted: bool) -> None:
        if restarted:
            pages = list(self.server.items())
            self.server = {}
            for (key, _), symbol in pages:
                self._track(key, symbol)
        self._join()

    @invariant()
    def what_was_told_is_what_we_have(self) -> None:
        assert +self.told == Counter(self.mirror.views())

    @invariant()
    def after_the_state_we_have_what_the_server_has(self) -> None:
        if self.mirror.synced:
            assert Counter(self.mirror.views()) == Counter(view("u", symbol) for symbol in self.server.values())

    def _track(self, key: str, symbol: str) -> tuple[str, str]:
        self.refs += 1
        page = (key, f"r{self.refs}")
        self.server[page] = symbol
        return page

    def _join(self) -> None:
        self.mirror.await_state()
        self.snapshot = self._presences(self.server)

    def _tell(self, leaves: dict[tuple[str, str], str], joins: dict[tuple[str, str], str]) -> None:
        self._note(self.mirror.apply_diff(diff(self._presences(joins), self._presences(leaves))))

    def _presences(self, pages: dict[tuple[str, str], str]) -> dict[str, Any]:
        state: dict[str, Any] = {}
        for (key, ref), symbol in pages.items():
            state.setdefault(key, {"metas": []})["metas"].append({"phx_ref": ref, **showing("u", symbol)})
        return state

    def _note(self, changes: Iterable[Change]) -> None:
        added, removed = exhaust(changes)
        self.told.update(added)
        self.told.subtract(removed)


TestMirrorModel = _MirrorMachine.TestCase
TestMirrorModel.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
