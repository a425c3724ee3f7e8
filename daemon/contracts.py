"""What the rooms share: frozen types, protocols and errors. Imports nothing of the daemon.

The words are those of the glossary in the README: pair, viewer, demand, job, attempt, call, outcome, budget, lease.
Times are timezone-aware UTC datetimes in the *database's* clock unless a name ends in ``_seconds`` or ``monotonic``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple, Protocol
from uuid import UUID

GLOBAL_SYMBOL = "GLOBAL"
"""The symbol of every pair of a global data type, whatever symbol the viewer named."""


class Pair(NamedTuple):
    """What is kept fresh: one data type of one symbol. Sorts in the order in which locks are taken."""

    symbol: str
    data_type: str


class Outcome(StrEnum):
    """How a refresh ended. Every one of them sets when the pair is due next."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    EMPTY = "empty"
    REJECTED = "rejected"
    FAILED = "failed"


class Lane(IntEnum):
    """The first part of the order in which jobs run: a smaller lane goes first."""

    FIRST_VIEW = 0
    VIEWED = 1
    SCHEDULED = 2


@dataclass(frozen=True, slots=True)
class DataType:
    """A row of ``data_type_registry_v2``, as far as the daemon reads it."""

    name: str
    fetcher: str
    upstream: str
    ttl_seconds: float
    weight: float
    is_global: bool
    enabled: bool
    """Its ``migrate_<type>_type`` flag: off means neither queued nor claimed."""
    market_hours: bool = False
    """Whether its data changes only while the symbol's exchange trades."""


@dataclass(frozen=True, slots=True)
class Flags:
    """The global feature flags, as last read. SQL reads the table itself; this copy decides what the daemon starts."""

    use_presence_tracking: bool = False
    use_queue_system: bool = False
    use_new_staleness_check: bool = False
    types: Mapping[str, bool] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether these flags leave nothing to do."""
        return not (self.use_queue_system and any(self.types.values()))

    def by_name(self) -> dict[str, bool]:
        """Return every flag by its name in ``feature_flags``."""
        return self.global_by_name() | {type_flag(name): enabled for name, enabled in self.types.items()}

    def global_by_name(self) -> dict[str, bool]:
        """Return those of them that belong to no data type."""
        return {
            "use_presence_tracking": self.use_presence_tracking,
            "use_queue_system": self.use_queue_system,
            "use_new_staleness_check": self.use_new_staleness_check,
        }


def type_flag(data_type: str) -> str:
    """Return the flag that switches a data type: ``financial-statements`` to ``migrate_financial_statements_type``."""
    return f"migrate_{data_type.replace('-', '_')}_type"


class Verdict(NamedTuple):
    """Yes or no, and why in one line."""

    is_good: bool
    reason: str


# --- presence to refresh ---------------------------------------------------------------------------------------------


class Subscription(NamedTuple):
    """One viewer looking at one pair, as one source reports it: a row of ``active_subscriptions_v2``."""

    viewer: str
    pair: Pair


class Standing(StrEnum):
    """What stands behind the rows of a source."""

    CONFIRMED = "confirmed"
    """A full state that this daemon has heard; an outage after it changes nothing of that."""
    REMEMBERED = "remembered"
    """Rows of an earlier owner that nobody has confirmed yet: they are in the table already, and age there."""
    HANDED_OVER = "handed_over"
    """The source is not ours any more: its rows are another's."""


@dataclass(frozen=True, slots=True)
class DemandChange:
    """What changed in one source (a lobby or a symbol topic) since the last change it reported.

    ``viewers`` holds the new number of distinct viewers, over all sources of this daemon, of every pair whose number or
    weight moved; 0 means that nobody of ours looks any more. ``joined`` and ``left`` are the rows behind it.
    ``weights`` holds what they weigh, for those of the pairs where that is less than their number; it is never 0.
    ``shard`` is the lease that makes the source ours.
    """

    source: str
    viewers: Mapping[Pair, int]
    joined: Sequence[Subscription] = ()
    left: Sequence[Subscription] = ()
    shard: str = ""
    standing: Standing = Standing.CONFIRMED
    weights: Mapping[Pair, float] = field(default_factory=dict)


DemandSink = Callable[[DemandChange], None]
"""Takes a change without blocking and without raising."""


class Catalogue(Protocol):
    """The allow-list: which pairs may be asked for at all."""

    def resolve(self, symbol: str, data_type: str) -> Pair | str:
        """Return the pair that a viewer means, or the reason to drop it: ``unknown_symbol``, ``unknown_data_type``.

        Many viewers name the same pair: it is the same object every time.
        """
        ...


# --- shards of presence -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeldShards:
    """What a listener owns after a turn of its leases."""

    kept: frozenset[str]
    surplus: frozenset[str]
    """Ours beyond our share: to be left, and then released."""
    next_free_seconds: float | None
    """When the first lease of another listener ends unless it is renewed; None where nobody else has any."""


@dataclass(frozen=True, slots=True)
class KnownTopic:
    """A symbol topic as it is remembered, and when a page last asked for it."""

    topic: str
    named_seconds_ago: float


@dataclass(frozen=True, slots=True)
class KnownViewer:
    """What one viewer looked at in one source, as the table remembers it."""

    viewer: str
    pairs: frozenset[Pair]
    seen_seconds_ago: float


class ShardStore(Protocol):
    """Where shards are owned and remembered. Everything here raises ``StoreUnavailableError``."""

    async def hold(self, shards: Sequence[str], status: Mapping[str, Any]) -> HeldShards:
        """Say that this listener lives and how it is, renew its leases, and take its share of what is free."""
        ...

    async def release(self, shards: Sequence[str]) -> None:
        """Hand shards over at once."""
        ...

    async def retire(self) -> None:
        """Hand everything over and say farewell."""
        ...

    async def read_topics(self, within_seconds: float) -> Sequence[KnownTopic]:
        """Return the symbol topics that were asked for or viewed within so long."""
        ...

    async def note_viewed(self, topics: Sequence[str]) -> None:
        """Remember that these symbol topics have viewers."""
        ...

    async def read_viewers(self, source: str) -> Sequence[KnownViewer]:
        """Return who viewed what in a source, as far as that has not expired."""
        ...


# --- the clock -------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Time as the database tells it, and time that only goes forward."""

    def now(self) -> datetime:
        """Return the database's time, UTC, estimated without a round trip."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go back."""
        ...


# --- processor and fetchers ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed job: the right to refresh one pair until the lease expires."""

    id: UUID
    lease_id: UUID
    pair: Pair
    fetcher: str
    upstream: str
    ttl_seconds: float
    weight: float
    lane: Lane
    priority: int
    retry_count: int
    estimated_bytes: int
    source_timestamp: datetime | None
    etag: str | None
    failures_before: int
    """Consecutive terminal failures of the pair before this job."""

    @property
    def symbol(self) -> str:
        """The symbol to ask for."""
        return self.pair.symbol


class FetchErrorKind(StrEnum):
    """Why a fetch brought nothing."""

    TIMEOUT = "timeout"
    TRANSPORT = "transport"
    UPSTREAM_ERROR = "upstream_error"
    RATE_LIMITED = "rate_limited"
    BANDWIDTH_EXHAUSTED = "bandwidth_exhausted"
    UNAUTHORISED = "unauthorised"
    PLAN = "plan"
    BATCH_REFUSED = "batch_refused"
    BAD_REQUEST = "bad_request"
    MALFORMED = "malformed"
    WRONG_SYMBOL = "wrong_symbol"
    INSANE_VALUE = "insane_value"
    TOO_LARGE = "too_large"


class RefreshdError(Exception):
    """Base of the daemon's own errors."""


class ConfigurationError(RefreshdError):
    """The operator has to change something: the message says what, where and how. Ends the process with 78."""


class SchemaVersionError(ConfigurationError):
    """The database's schema is not one this daemon works with: the message says which it is and what to run."""


class StoreUnavailableError(RefreshdError):
    """PostgreSQL could not do it now: connection, overload, timeout, shutdown. Nothing is known to have happened."""


class FetchError(RefreshdError):
    """A fetch brought nothing. The message names endpoint, symbol and field, never the key, 256 characters of body.

    Args:
        kind: What went wrong.
        message: One line for the log and for ``error_message``.
        retry_after_seconds: What the upstream asked us to wait, already clamped, where it did.
    """

    def __init__(self, kind: FetchErrorKind, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds


class CallRefusedError(RefreshdError):
    """A call was not made: a budget, the breaker or a pause stands in the way. Nothing was spent.

    Args:
        reason: ``calls``, ``bytes``, ``breaker``, ``paused`` or ``flags``.
        retry_after_seconds: After how long asking again makes sense.
    """

    def __init__(self, reason: str, retry_after_seconds: float) -> None:
        super().__init__(f"call refused: {reason}, try again in {retry_after_seconds:.1f} s")
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the upstream with status 200 or 304."""

    status: int
    body: bytes
    etag: str | None
    received_bytes: int
    """On the wire: raw headers plus the body as it came, compressed or not."""
    pause_seconds: float | None = None
    """For how long the upstream's own headers ask to make no further call, clamped; None where they do not."""


class Upstream(Protocol):
    """The one way a fetcher reaches the upstream. What is behind it meters, limits and breaks."""

    async def get(
        self, endpoint: str, params: Mapping[str, str], *, etag: str | None = None, max_bytes: int | None = None
    ) -> Answer:
        """GET ``endpoint`` (``quote``) and return its answer.

        Args:
            endpoint: Path below the base URL, without a leading slash.
            params: Query parameters; never the key.
            etag: Sent as ``If-None-Match``; a 304 is then an answer with an empty body.
            max_bytes: Cap of the decoded body; the client's default where None.

        Raises:
            FetchError: For every status but 200 and 304, an error object under 200, and every failure on the way.
            CallRefusedError: Where the call was not made.
        """
        ...


Row = Mapping[str, Any]
"""A row for a data table: column name to a value that JSON can carry."""


class OddityKind(StrEnum):
    """In which way a good answer was not what it used to be."""

    UNKNOWN_FIELD = "unknown_field"
    """The upstream has added a field that this version does not know."""
    MISSING_FIELD = "missing_field"
    """A field that records have always had is in none of this answer."""
    CHANGED_TYPE = "changed_type"
    """A field holds what its column cannot take: null is stored instead."""
    QUARANTINED_RECORD = "quarantined_record"
    """A record of a list could not be used and was left out; the others are stored."""


class Oddity(NamedTuple):
    """Something odd about a good answer: nothing is wrong with the rows, yet somebody should know."""

    kind: OddityKind
    field: str
    """The field as the upstream calls it; of a quarantined record the reason, in a few words that name no value."""
    sample: str = ""
    """At most 256 printable characters of what was found."""
    records: int = 1
    """In how many records of the answer."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch found out about one symbol.

    ``rows`` None means that the upstream says nothing has changed (304); an empty sequence means that it has nothing.
    ``replaces`` names key columns where the rows are all that the upstream has: stored rows that agree with one of
    them in these columns, and whose key is none of theirs, are gone there and removed here. None removes nothing.
    """

    rows: Sequence[Row] | None
    source_timestamp: datetime | None = None
    etag: str | None = None
    oddities: Sequence[Oddity] = ()
    replaces: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """One symbol to fetch, with what is known from last time."""

    symbol: str
    etag: str | None = None


class Fetcher(Protocol):
    """Fetches one data type."""

    data_type: str

    @property
    def batch_size(self) -> int:
        """How many symbols one call can carry now; 1 where there is no batch."""
        ...

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Fetch up to ``batch_size`` symbols.

        Returns:
            By symbol what was found, or the failure of that symbol alone. A symbol that is missing from a good answer
            has no rows.

        Raises:
            FetchError: Where the whole call failed.
            CallRefusedError: Where the call was not made.
        """
        ...


@dataclass(frozen=True, slots=True)
class KnownExchange:
    """What is stored about an exchange and cannot be asked for on every day."""

    exchange: str
    opening_hour: str | None = None
    closing_hour: str | None = None
    opening_additional: str | None = None
    closing_additional: str | None = None
    timezone: str | None = None
    holidays: Sequence[Mapping[str, Any]] = ()
    holidays_checked_on: date | None = None


class ExchangeBook(Protocol):
    """What is known about exchanges, as it was last loaded."""

    def known_exchanges(self) -> Mapping[str, KnownExchange]:
        """Return by its code what is stored about each exchange."""
        ...

    def traded_exchanges(self) -> Collection[str]:
        """Return the exchanges on which symbols of the allow-list trade."""
        ...


@dataclass(frozen=True, slots=True)
class JobFinished:
    """A job came to an end of which the due time of its pair follows."""

    pair: Pair
    outcome: Outcome
    next_due_at: datetime
    lane: Lane = Lane.VIEWED


FinishedSink = Callable[[JobFinished], None]
"""Takes the news without blocking and without raising."""
