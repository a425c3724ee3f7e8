"""Feed, mirrors and roster against a server that loses, doubles and reorders: in the end they have the truth."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from daemon.contracts import DemandChange, KnownViewer, Pair, Standing
from daemon.presence.feed import DemandFeed
from daemon.presence.metadata import DEFAULT_RULES
from daemon.presence.roster import Roster
from tests.presence.stage import AnySymbol
from tests.presence.test_feed import MovedClock

LEAVE_GRACE = 30.0
PRESENCE_GRACE = 300.0
TOPICS = ("viewers:0", "symbol:AAPL")

topics = st.sampled_from(TOPICS)
users = st.sampled_from(["ada", "bob"])
keys = st.sampled_from(["k", "l"])
interests = st.sets(st.sampled_from(["AAPL", "MSFT"]))
picks = st.integers(0, 7)

Page = tuple[str, str]
"""Key and ref."""


@dataclass(slots=True)
class Server:
    """One topic as the server has it, and the frames that are on their way from it to us."""

    pages: dict[Page, dict[str, Any]] = field(default_factory=dict)
    wire: list[tuple[str, Any]] = field(default_factory=list)
    joined: bool = False
    is_clean: bool = True
    """Whether since our join nothing was lost, and no diff has overtaken another: what comes is enough to know all."""

    def change(self, joins: dict[Page, dict[str, Any]], leaves: dict[Page, dict[str, Any]]) -> None:
        """Change who is there, and tell us where we are a member."""
        self.pages = {page: meta for page, meta in self.pages.items() if page not in leaves} | joins
        if self.joined:
            self.wire.append(("diff", {"joins": presences(joins), "leaves": presences(leaves)}))

    def join(self) -> None:
        """Let us in (again): what was on its way is gone, and a state is."""
        self.wire = [("state", presences(self.pages))]
        self.joined = self.is_clean = True


def presences(pages: dict[Page, dict[str, Any]]) -> dict[str, Any]:
    """Return pages as Realtime writes them."""
    state: dict[str, Any] = {}
    for (key, ref), meta in pages.items():
        state.setdefault(key, {"metas": []})["metas"].append({"phx_ref": ref, **meta})
    return state


def meta_of(topic: str, user: str | None, symbols: set[str]) -> dict[str, Any]:
    """Return what a page tracks, in either shape."""
    who = {} if user is None else {"userId": user}
    if topic.startswith("symbol:"):
        return {"symbol": "AAPL", "dataTypes": ["quote"] if "AAPL" in symbols else [], **who}
    return {"views": {symbol: ["quote"] for symbol in sorted(symbols)}, **who}


def rows_of(server: Server) -> set[tuple[str, Pair]]:
    """Return who truly looks at what in a topic."""
    rows = set()
    for (key, ref), meta in server.pages.items():
        viewer = f"user:{meta['userId']}" if "userId" in meta else f"conn:{key}:{ref}"
        symbols = meta.get("views", {"AAPL": meta.get("dataTypes")})
        rows |= {(viewer, Pair(symbol, name)) for symbol, names in symbols.items() for name in names}
    return rows


class ConvergenceMachine(RuleBasedStateMachine):
    """Pages do what they like, the wire does its worst, and we listen."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = MovedClock()
        self.servers = {topic: Server() for topic in TOPICS}
        self.refs = 0
        self.rows: dict[str, set[tuple[str, Pair]]] = defaultdict(set)
        """By topic, as the table of the sink would hold them."""
        self.viewers: dict[Pair, int] = {}
        self.ever: set[tuple[str, Pair]] = set()
        self.silent_since: dict[str, float] = {}
        self.feed = DemandFeed(
            catalogue=AnySymbol(),
            sink=self._take,
            clock=self.clock,
            roster=Roster(leave_grace_seconds=LEAVE_GRACE, presence_grace_seconds=PRESENCE_GRACE),
            coalesce_seconds=1.0,
            rules=DEFAULT_RULES,
        )

    def _take(self, change: DemandChange) -> None:
        for row in change.joined:
            self.rows[change.source].add((row.viewer, row.pair))
        for row in change.left:
            assert (row.viewer, row.pair) in self.rows[change.source], f"{row} left and was never there"
            self.rows[change.source].discard((row.viewer, row.pair))
        self.viewers.update(change.viewers)
        assert min(change.viewers.values(), default=0) >= 0
        assert change.standing is not Standing.HANDED_OVER or not change.left

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self.runner.run(work)

    @initialize()
    def we_begin(self) -> None:
        for topic, server in self.servers.items():
            self._do(self.feed.open(topic, topic))
            server.join()

    # --- pages ---

    @rule(topic=topics, key=keys, user=users | st.none(), symbols=interests)
    def a_page_opens(self, topic: str, key: str, user: str | None, symbols: set[str]) -> None:
        self._show(topic, key, meta_of(topic, user, symbols), {})

    @rule(topic=topics, pick=picks, symbols=interests)
    def a_page_shows_something_else(self, topic: str, pick: int, symbols: set[str]) -> None:
        if page := self._pick(topic, pick):
            meta = self.servers[topic].pages[page]
            self._show(topic, page[0], meta_of(topic, meta.get("userId"), symbols), {page: meta})

    @rule(topic=topics, pick=picks)
    def a_page_goes(self, topic: str, pick: int) -> None:
        if page := self._pick(topic, pick):
            self.servers[topic].change({}, {page: self.servers[topic].pages[page]})

    def _pick(self, topic: str, pick: int) -> Page | None:
        pages = sorted(self.servers[topic].pages)
        return pages[pick % len(pages)] if pages else None

    def _show(self, topic: str, key: str, meta: dict[str, Any], leaves: dict[Page, dict[str, Any]]) -> None:
        self.refs += 1
        self.servers[topic].change({(key, f"r{self.refs}"): meta}, leaves)
        self.ever |= rows_of(self.servers[topic])

    # --- the wire ---

    @rule(topic=topics, frames=st.integers(1, 4))
    def frames_come(self, topic: str, frames: int) -> None:
        for _ in range(frames):
            if self.servers[topic].wire:
                self._deliver(topic, self.servers[topic].wire.pop(0))

    @rule(topic=topics)
    def a_frame_comes_twice(self, topic: str) -> None:
        server = self.servers[topic]
        if server.wire:
            frame = server.wire.pop(0)
            self._deliver(topic, frame)
            self._deliver(topic, frame)
            server.is_clean &= frame[0] == "diff"  # an old state that comes again undoes what came since

    @rule(topic=topics, pick=picks)
    def a_page_comes_or_goes_before_the_state_does(self, topic: str, pick: int) -> None:
        """The diff overtakes the state, which was taken before it."""
        self.a_channel_is_joined_again(topic)
        page = self._pick(topic, pick)
        if page is None:
            self._show(topic, "k", meta_of(topic, "ada", {"AAPL"}), {})
        else:
            self.servers[topic].change({}, {page: self.servers[topic].pages[page]})
        self._deliver(topic, self.servers[topic].wire.pop())

    @rule(topic=topics, pick=picks)
    def a_frame_overtakes_those_before_it(self, topic: str, pick: int) -> None:
        server = self.servers[topic]
        if server.wire:
            number = pick % len(server.wire)
            if any(kind == "diff" for kind, _ in server.wire[:number]):
                server.is_clean = False
            self._deliver(topic, server.wire.pop(number))

    @rule(topic=topics, pick=picks)
    def a_diff_is_lost(self, topic: str, pick: int) -> None:
        wire = self.servers[topic].wire
        diffs = [number for number, (kind, _) in enumerate(wire) if kind == "diff"]
        if diffs:
            del wire[diffs[pick % len(diffs)]]
            self.servers[topic].is_clean = False

    @rule(topic=topics)
    def the_wire_drains(self, topic: str) -> None:
        server = self.servers[topic]
        while server.wire:
            self._deliver(topic, server.wire.pop(0))
        self.time_passes(LEAVE_GRACE + 1)
        if server.joined and server.is_clean:
            assert self.rows[topic] == rows_of(server)

    @rule(topic=topics)
    def a_channel_is_joined_again(self, topic: str) -> None:
        self._lose(topic)
        self.servers[topic].join()

    @rule()
    def the_socket_is_lost(self) -> None:
        for topic, server in self.servers.items():
            self._lose(topic)
            server.joined, server.wire = False, []

    def _lose(self, topic: str) -> None:
        self.feed.lost(topic)
        self.silent_since.setdefault(topic, self.clock.seconds)

    @rule()
    def the_server_restarts_and_every_ref_is_new(self) -> None:
        self.the_socket_is_lost()
        for server in self.servers.values():
            pages, server.pages = server.pages, {}
            for (key, ref), meta in pages.items():
                server.pages[key, f"{ref}'"] = meta
            server.join()
            self.ever |= rows_of(server)

    @rule(topic=topics, seconds_ago=st.sampled_from([0.0, 10.0, 200.0]))
    def another_daemon_has_it_for_a_while(self, topic: str, seconds_ago: float) -> None:
        before = set(self.rows[topic])
        self._do(self.feed.close(topic, handed_over=True))
        assert self.rows[topic] == before, "rows are handed over with their topic"
        known: dict[str, set[Pair]] = defaultdict(set)
        for viewer, pair in self.rows[topic]:
            known[viewer].add(pair)
        remembered = [KnownViewer(viewer, frozenset(pairs), seconds_ago) for viewer, pairs in sorted(known.items())]
        self._do(self.feed.open(topic, topic, remembered))
        self.silent_since[topic] = self.clock.seconds - seconds_ago
        self.servers[topic].join()

    @rule(topic=topics)
    def a_state_comes_while_a_topic_is_being_given_up(self, topic: str) -> None:
        self._lose(topic)
        self.time_passes_and_little_is_done_about_it(PRESENCE_GRACE + 1)
        self.servers[topic].join()
        self._deliver(topic, self.servers[topic].wire.pop())

    @rule(seconds=st.sampled_from([0.5, 40.0, 400.0]))
    def time_passes_and_little_is_done_about_it(self, seconds: float) -> None:
        self.clock.seconds += seconds
        self.feed.tick()

    @rule(seconds=st.sampled_from([0.5, 5.0, 40.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.seconds += seconds
        while self.feed.seconds_left() == 0:
            self.feed.tick()
        for topic, since in self.silent_since.items():
            if self.clock.seconds - since >= PRESENCE_GRACE:
                assert not self.rows[topic], "a silence longer than the grace means nobody"

    def _deliver(self, topic: str, frame: tuple[str, Any]) -> None:
        kind, payload = frame
        if kind == "state":
            self.silent_since.pop(topic, None)
        self._do(self.feed.take_state(topic, payload) if kind == "state" else self.feed.take_diff(topic, payload))

    # --- what must always hold ---

    @invariant()
    def nobody_is_told_of_who_never_was_there(self) -> None:
        assert all(rows <= self.ever for rows in self.rows.values())

    @invariant()
    def no_pair_has_more_viewers_than_rows(self) -> None:
        self.feed.flush()
        assert self.viewers_from_rows().items() >= {pair: n for pair, n in self.viewers.items() if n}.items()

    def viewers_from_rows(self) -> Counter[Pair]:
        """Return the distinct viewers of each pair, over all topics."""
        rows = set().union(*self.rows.values())
        return Counter(pair for _, pair in rows)

    def teardown(self) -> None:
        """Let everything become right again, and compare."""
        for topic, server in self.servers.items():
            self._lose(topic)
            server.join()
            self._deliver(topic, server.wire.pop(0))
        for seconds in (LEAVE_GRACE + 1, PRESENCE_GRACE + 1, 1.0):
            self.time_passes(seconds)
        truth = {topic: rows_of(server) for topic, server in self.servers.items()}
        assert {topic: self.rows[topic] for topic in TOPICS} == truth
        assert {pair: viewers for pair, viewers in self.viewers.items() if viewers} == self.viewers_from_rows()
        self._everybody_goes()
        assert self.feed.drops == {}
        self.runner.close()

    def _everybody_goes(self) -> None:
        """Nobody who was counted twice could be seen before now."""
        for topic, server in self.servers.items():
            server.change({}, dict(server.pages))
            self._deliver(topic, server.wire.pop(0))
        self.time_passes(LEAVE_GRACE + 1)
        assert not any(self.rows.values())
        assert not any(self.viewers.values())


def test_whatever_happens_it_ends_in_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.presence.roster.EXPIRED_AT_ONCE", 1)  # so that a tick often leaves something undone

    run_state_machine_as_test(
        ConvergenceMachine, settings=settings(max_examples=200, stateful_step_count=40, deadline=None)
    )
