"""The roster against a brute-force model that recomputes everything from the metas it was given."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from daemon.contracts import DemandChange, Pair
from daemon.presence.metadata import View
from daemon.presence.roster import Roster

LEAVE_GRACE = 30
PRESENCE_GRACE = 300
MAX_PAIRS = 3
FULL_WEIGHT_PAIRS = 2
UNVERIFIED_VIEWERS = 1

SOURCES = ("viewers:0", "viewers:1")
PAIRS = [Pair(symbol, data_type) for symbol in "ABC" for data_type in ("profile", "quote")]

sources = st.sampled_from(SOURCES)
pairs = st.sampled_from(PAIRS)
pair_sets = st.frozensets(pairs, max_size=4).map(lambda chosen: tuple(sorted(chosen)))
viewers = st.sampled_from(["user:1", "user:2", "conn:k:r", "conn:k:s"])
views = st.builds(
    lambda viewer, pairs: View(viewer, pairs, viewer.startswith("user:")),
    viewers,
    pair_sets,
)
Row = tuple[str, str, Pair]


class _RosterMachine(RuleBasedStateMachine):
    """Metas come and go, sources fall silent and return, time passes."""

    metas = Bundle("metas")

    def __init__(self) -> None:
        super().__init__()
        self.roster = Roster(
            leave_grace_seconds=LEAVE_GRACE,
            presence_grace_seconds=PRESENCE_GRACE,
            max_pairs=MAX_PAIRS,
            full_weight_pairs=FULL_WEIGHT_PAIRS,
            unverified_viewers=UNVERIFIED_VIEWERS,
        )
        self.now = 1000.0
        self.live: Counter[tuple[str, View]] = Counter()
        self.lingering: dict[Row, float] = {}
        self.lost: dict[str, float] = {}
        self.reported_rows: set[Row] = set()
        self.reported_viewers: dict[Pair, int] = {}
        self.reported_weights: dict[Pair, float] = {}

    # --- what happens ---

    @rule(target=metas, source=sources, added=st.lists(views, max_size=3))
    def metas_come(self, source: str, added: list[View]) -> object:
        self.change(source, added, [])
        return multiple(*((source, view) for view in added))

    @rule(meta=consumes(metas))
    def a_meta_goes(self, meta: tuple[str, View]) -> None:
        source, view = meta
        if self.live[meta]:
            self.change(source, [], [view])

    @rule(target=metas, meta=consumes(metas), after=views)
    def a_meta_is_tracked_again(self, meta: tuple[str, View], after: View) -> object:
        source, before = meta
        if not self.live[meta]:
            return multiple()
        self.change(source, [after], [before])
        return source, after

    @rule(source=sources)
    def a_source_is_lost(self, source: str) -> None:
        self.roster.source_lost(source, self.now)
        if any(holder == source for holder, _, _ in self.held()):
            self.lost.setdefault(source, self.now + PRESENCE_GRACE)

    @rule(source=sources)
    def a_source_is_confirmed(self, source: str) -> None:
        self.roster.source_confirmed(source)
        self.lost.pop(source, None)

    @rule(source=sources)
    def a_source_is_drained(self, source: str) -> None:
        self.roster.drain(source)
        self.give_up(source)

    @rule(seconds=st.sampled_from([1, 10, 29, 30, 100, 300]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        given_up = self.roster.expire(self.now)
        self.lingering = {row: deadline for row, deadline in self.lingering.items() if deadline > self.now}
        self.forget_empty_sources()
        due = [source for source, deadline in self.lost.items() if deadline <= self.now]
        for source in due:
            self.give_up(source)
        assert sorted(given_up) == sorted(due)

    @rule(source=sources)
    def a_change_is_taken(self, source: str) -> None:
        change = self.roster.take_change(source)
        if change is not None:
            self.report(change)

    # --- the model ---

    def change(self, source: str, added: list[View], removed: list[View]) -> None:
        self.roster.apply(source, added, removed, self.now)
        before = self.live_rows()
        self.live.update((source, view) for view in added)
        before |= self.live_rows()
        self.live.subtract((source, view) for view in removed)
        for row in self.live_rows():
            self.lingering.pop(row, None)
        for row in before - self.live_rows():
            self.lingering[row] = self.now + LEAVE_GRACE

    def live_rows(self) -> set[Row]:
        return {(s, view.viewer, pair) for (s, view), n in self.live.items() if n for pair in view.pairs}

    def held(self) -> set[Row]:
        return self.live_rows() | self.lingering.keys()

    def give_up(self, source: str) -> None:
        self.live = Counter({key: n for key, n in self.live.items() if key[0] != source})
        self.lingering = {row: deadline for row, deadline in self.lingering.items() if row[0] != source}
        self.lost.pop(source, None)

    def forget_empty_sources(self) -> None:
        holding = {source for source, _, _ in self.held()}
        self.lost = {source: deadline for source, deadline in self.lost.items() if source in holding}

    def counting(self) -> set[Row]:
        live = {(viewer, pair) for _, viewer, pair in self.live_rows()}
        wanted: defaultdict[str, set[Pair]] = defaultdict(set)
        for _, viewer, pair in self.held():
            wanted[viewer].add(pair)
        kept: set[tuple[str, Pair]] = set()
        for viewer, choices in wanted.items():
            order = sorted(((viewer, pair) not in live, pair) for pair in choices)
            kept |= {(viewer, pair) for _, pair in order[:MAX_PAIRS]}
        return {(source, viewer, pair) for source, viewer, pair in self.held() if (viewer, pair) in kept}

    def report(self, change: DemandChange) -> None:
        joined = {(change.source, row.viewer, row.pair) for row in change.joined}
        left = {(change.source, row.viewer, row.pair) for row in change.left}
        assert not joined & self.reported_rows
        assert left <= self.reported_rows
        self.reported_rows = self.reported_rows - left | joined
        self.reported_viewers.update(change.viewers)
        self.reported_weights.update(change.viewers)
        self.reported_weights.update(change.weights)

    def weights(self) -> dict[Pair, float]:
        """Weigh every pair from scratch."""
        counting = {(viewer, pair) for _, viewer, pair in self.counting()}
        held = Counter(viewer for viewer, _ in counting)
        sums: defaultdict[tuple[Pair, bool], float] = defaultdict(float)
        for viewer, pair in counting:
            sums[pair, viewer.startswith("user:")] += min(1, FULL_WEIGHT_PAIRS / held[viewer])
        return {pair: sums[pair, True] + min(sums[pair, False], UNVERIFIED_VIEWERS) for pair in PAIRS}

    # --- what must always hold ---

    @invariant()
    def weights_are_those_of_the_model(self) -> None:
        for pair, weight in self.weights().items():
            assert math.isclose(self.roster.weight(pair), weight, abs_tol=1e-5)
            assert (self.roster.weight(pair) > 0) is (self.roster.viewers(pair) > 0)

    @invariant()
    def numbers_are_those_of_the_model(self) -> None:
        viewers = defaultdict(set)
        for _, viewer, pair in self.counting():
            viewers[pair].add(viewer)
        for pair in PAIRS:
            assert self.roster.viewers(pair) == len(viewers[pair])

    @invariant()
    def sources_count_distinct_viewers(self) -> None:
        for source in SOURCES:
            expected = {viewer for holder, viewer, _ in self.counting() if holder == source}
            assert self.roster.viewers_in(source) == len(expected)

    @invariant()
    def the_next_deadline_is_the_first(self) -> None:
        deadline = min([*self.lingering.values(), *self.lost.values()], default=math.inf)
        assert (self.roster.next_deadline() or math.inf) == deadline

    @invariant()
    def a_first_view_is_urgent(self) -> None:
        untold = [pair for pair in PAIRS if self.roster.viewers(pair) and not self.reported_viewers.get(pair)]
        assert not untold or any(self.roster.first_viewed(source) for source in SOURCES)

    def teardown(self) -> None:
        """Whatever was taken when: all reports together tell the whole."""
        for source in SOURCES:
            self.a_change_is_taken(source)
        assert not self.roster.changed()
        assert self.reported_rows == self.counting()
        for pair, weight in self.weights().items():
            assert math.isclose(self.reported_weights.get(pair, 0), weight, abs_tol=1e-5)
        told = {pair: number for pair, number in self.reported_viewers.items() if number}
        assert told == Counter(pair for _, pair in {(viewer, pair) for _, viewer, pair in self.counting()})


TestRosterModel = _RosterMachine.TestCase
TestRosterModel.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
