"""What happens when a page says what it shows: the stale pairs are queued at once, and it hears how each stands.

Presence stays the truth of who looks at what. This only spares the first view the way through it, names the
symbols' topics to the listeners, and hands out the ticket that makes a viewer verified there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, Protocol, TypeAlias

import msgspec

from daemon.contracts import Catalogue, Pair, StoreUnavailableError
from daemon.tickets import Tickets
from daemon.web.admission import AdmissionGate, Verdict
from daemon.web.jwt_auth import Caller

DATABASE_SECONDS = 2.0
LARGEST_BATCH = 500
MAX_PAIRS = 100
"""In one request: as many as one viewer counts for."""
MAX_DATA_TYPES = 20

SYMBOL_PATTERN = r"^[A-Z0-9^][A-Z0-9.^=-]{0,19}"
DATA_TYPE_PATTERN = r"^[a-z][a-z0-9-]{0,40}"
_END = r"\Z"
"""Not ``$``, which a line end may follow."""


Symbol: TypeAlias = Annotated[str, msgspec.Meta(pattern=SYMBOL_PATTERN + _END)]
DataTypes: TypeAlias = Annotated[
    list[Annotated[str, msgspec.Meta(pattern=DATA_TYPE_PATTERN + _END)]],
    msgspec.Meta(min_length=1, max_length=MAX_DATA_TYPES),
]


class TrackRequest(msgspec.Struct, frozen=True, rename={"data_types": "dataTypes"}):
    """What a page shows: one symbol, or its views as it tracks them in a lobby. Other fields are passed over.

    Raises:
        ValueError: Where it names neither.
    """

    symbol: Symbol | msgspec.UnsetType = msgspec.UNSET
    data_types: DataTypes | msgspec.UnsetType = msgspec.UNSET
    views: Annotated[dict[Symbol, DataTypes], msgspec.Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    topics: Literal["symbol", "lobby"] | msgspec.UnsetType = msgspec.UNSET
    """Where the page tracks: in the topic of each symbol, which is then joined, or in a lobby."""

    def __post_init__(self) -> None:
        """Refuse what shows nothing, and what shows more than anybody looks at."""
        wanted = self.wanted()
        if not wanted:
            raise ValueError("Expected `symbol` and `dataTypes`, or `views`")
        if len(wanted) > MAX_PAIRS:
            raise ValueError(f"Expected at most {MAX_PAIRS} pairs of a symbol and a data type")

    def uses_symbol_topics(self) -> bool:
        """Return whether the topics of the symbols are to be joined: where it says so, or names one symbol alone."""
        return self.topics == "symbol" or (self.topics is msgspec.UNSET and self.views is msgspec.UNSET)

    def wanted(self) -> dict[tuple[str, str], None]:
        """Return every (symbol, data type) once, in the order in which they are named."""
        views: list[tuple[str, list[str]]] = []
        if self.symbol is not msgspec.UNSET and self.data_types is not msgspec.UNSET:
            views.append((self.symbol, self.data_types))
        if self.views is not msgspec.UNSET:
            views.extend(self.views.items())
        return {(symbol, name): None for symbol, names in views for name in names}


class FreshPair(msgspec.Struct, frozen=True):
    """A pair whose stored data is good, as in ``refresh_status_v2``."""

    symbol: str
    data_type: str
    fresh_until: datetime


class StalePair(msgspec.Struct, frozen=True):
    """A pair whose stored data is old, or that has none."""

    symbol: str
    data_type: str
    fresh_until: datetime | None


class UnknownPair(msgspec.Struct, frozen=True):
    """What was asked for and is not in the allow-list."""

    symbol: str
    data_type: str
    reason: str
    """``unknown_symbol``, ``unknown_data_type``, or ``not_verified_yet``: worth asking again in a minute."""


class TrackAnswer(msgspec.Struct, frozen=True):
    """How everything that was asked for stands: each pair is in exactly one of the four lists."""

    viewer: Literal["user", "connection"]
    fresh: list[FreshPair]
    queued: list[StalePair]
    held: list[StalePair]
    """Stale, and not queued: switched off, failed lately, or the byte budget is used up."""
    unknown: list[UnknownPair]
    ticket: str | None
    ticket_expires_at: datetime | None


class PairState(Protocol):
    """How a pair stands by the clock of the database."""

    @property
    def pair(self) -> Pair:
        """The pair."""
        ...

    @property
    def fresh_until(self) -> datetime | None:
        """When it goes, or went, stale."""
        ...

    @property
    def is_fresh(self) -> bool:
        """Whether that lies ahead."""
        ...

    @property
    def is_queued(self) -> bool:
        """Whether a job of it is open."""
        ...


class SubscriptionStore(Protocol):
    """Where stale pairs are queued."""

    async def queue_stale(self, pairs: Sequence[Pair], symbols: Sequence[str]) -> tuple[int, Sequence[PairState]]:
        """Queue those of the pairs that are due and ask for the symbols' topics, in one statement.

        Returns:
            The number of new jobs, and how every pair stands now.

        Raises:
            StoreUnavailableError: When the database could not do it now.
        """
        ...


@dataclass(frozen=True, slots=True)
class TicketIssue:
    """How tickets are handed out."""

    tickets: Tickets
    now: Callable[[], datetime]
    """The database's clock, by which they are verified."""
    seconds: float
    """How long one is good; the page asks again earlier."""


class SubscriptionService:
    """Answers pages that start to show something.

    Args:
        store: Where stale pairs are queued.
        catalogue: The allow-list.
        on_queued: Called when new jobs wait.
        joins_topics: Whether symbols have topics that listeners are to join.
        ticket_issue: How signed-in users get tickets; None where there are none.
        gate: Verifies unknown symbols; None where they stay unknown.
        database_seconds: How long a page waits for the database.
    """

    def __init__(
        self,
        store: SubscriptionStore,
        catalogue: Catalogue,
        *,
        on_queued: Callable[[], None],
        joins_topics: bool,
        ticket_issue: TicketIssue | None = None,
        gate: AdmissionGate | None = None,
        database_seconds: float = DATABASE_SECONDS,
    ) -> None:
        self._queue = _StaleQueue(store, on_queued)
        self._catalogue = catalogue
        self._joins_topics = joins_topics
        self._ticket_issue = ticket_issue
        self._gate = gate
        self._database_seconds = database_seconds

    async def track(self, request: TrackRequest, caller: Caller, address: str) -> TrackAnswer:
        """Queue what is stale of what a page shows, and say how everything stands. Doing it again does no harm.

        Args:
            request: What is shown.
            caller: Who asks.
            address: Where the request comes from; bounds admissions of those who are not signed in.

        Raises:
            StoreUnavailableError: Where the database does not answer in time.
        """
        resolved = self._resolve(request)
        unknown = {symbol for (symbol, _), pair in resolved.items() if pair == "unknown_symbol"}
        if self._gate is not None and unknown:
            who = f"address:{address}" if caller.user is None else f"user:{caller.user}"
            verdicts = await _verdicts(self._gate, sorted(unknown), who)
            resolved = self._resolve(request, verdicts)
        pairs = {pair for pair in resolved.values() if isinstance(pair, Pair)}
        named = {symbol for (symbol, _), pair in resolved.items() if isinstance(pair, Pair)}
        symbols = named if request.uses_symbol_topics() else set()
        states = await self._states(pairs, symbols) if pairs else {}
        return self._answer(caller, resolved, states)

    def _resolve(
        self, request: TrackRequest, verdicts: Mapping[str, str] | None = None
    ) -> dict[tuple[str, str], Pair | str]:
        """Return the pair of everything that is named, or why it has none: ``verdicts`` says so of unknown symbols."""
        found = {named: self._catalogue.resolve(*named) for named in request.wanted()}
        for (symbol, name), pair in found.items():
            if pair == "unknown_symbol" and verdicts and verdicts[symbol] == "not_verified_yet":
                found[symbol, name] = "not_verified_yet"
        return found

    async def _states(self, pairs: Collection[Pair], symbols: Collection[str]) -> Mapping[Pair, PairState]:
        try:
            async with asyncio.timeout(self._database_seconds):
                return await self._queue.queue(pairs, symbols if self._joins_topics else ())
        except TimeoutError:
            raise StoreUnavailableError("the database did not answer in time") from None

    def _answer(
        self, caller: Caller, resolved: Mapping[tuple[str, str], Pair | str], states: Mapping[Pair, PairState]
    ) -> TrackAnswer:
        ticket, expires_at = self._ticket(caller)
        answer = TrackAnswer(
            viewer="connection" if caller.user is None else "user",
            fresh=[],
            queued=[],
            held=[],
            unknown=[],
            ticket=ticket,
            ticket_expires_at=expires_at,
        )
        for pair in dict.fromkeys(pair for pair in resolved.values() if isinstance(pair, Pair)):
            _place(answer, states[pair])
        for (symbol, name), reason in resolved.items():
            if not isinstance(reason, Pair):
                answer.unknown.append(UnknownPair(symbol, name, reason))
        return answer

    def _ticket(self, caller: Caller) -> tuple[str | None, datetime | None]:
        if self._ticket_issue is None or caller.user is None:
            return None, None
        issue = self._ticket_issue
        expires_at = (issue.now() + timedelta(seconds=issue.seconds)).replace(microsecond=0)
        return issue.tickets.issue(caller.user, expires_at), expires_at


async def _verdicts(gate: AdmissionGate, symbols: Collection[str], who: str) -> dict[str, Verdict]:
    """Return what the gate says of each symbol; it is asked for all at once, and lets few through at a time."""
    async with asyncio.TaskGroup() as group:
        tasks = {symbol: group.create_task(gate.admit(symbol, who)) for symbol in symbols}
    return {symbol: task.result() for symbol, task in tasks.items()}


def _place(answer: TrackAnswer, state: PairState) -> None:
    symbol, data_type = state.pair
    if state.is_fresh and state.fresh_until is not None:
        answer.fresh.append(FreshPair(symbol, data_type, state.fresh_until))
    else:
        stale = StalePair(symbol, data_type, state.fresh_until)
        (answer.queued if state.is_queued else answer.held).append(stale)


class _Batch:
    """What waits to be asked of the database together."""

    def __init__(self) -> None:
        self.pairs: set[Pair] = set()
        self.symbols: set[str] = set()
        self.states: Mapping[Pair, PairState] | None = None
        self.error: StoreUnavailableError | None = None

    @property
    def is_done(self) -> bool:
        return self.states is not None or self.error is not None


class _StaleQueue:
    """Asks the database for all pages that wait, in one call at a time, so that a crowd costs one connection."""

    def __init__(self, store: SubscriptionStore, on_queued: Callable[[], None]) -> None:
        self._store = store
        self._on_queued = on_queued
        self._turn = asyncio.Lock()
        self._next = _Batch()

    async def queue(self, pairs: Collection[Pair], symbols: Collection[str]) -> Mapping[Pair, PairState]:
        """Queue those of the pairs that are due; return how these, and perhaps others, stand.

        Raises:
            StoreUnavailableError: When the database could not do it now.
        """
        if len(self._next.pairs) >= LARGEST_BATCH:
            self._next = _Batch()
        batch = self._next
        batch.pairs.update(pairs)
        batch.symbols.update(symbols)
        async with self._turn:
            if not batch.is_done:
                await self._ask(batch)  # again by the next who waits, where this one is cancelled meanwhile
        if batch.states is None:
            raise StoreUnavailableError(str(batch.error))
        return batch.states

    async def _ask(self, batch: _Batch) -> None:
        if batch is self._next:
            self._next = _Batch()
        try:
            new_jobs, states = await self._store.queue_stale(sorted(batch.pairs), sorted(batch.symbols))
        except StoreUnavailableError as error:
            batch.error = error
            return
        batch.states = {state.pair: state for state in states}
        if new_jobs:
            self._on_queued()
