"""The service that hears who views what: shards taken, topics joined, demand told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import structlog

from daemon.contracts import Catalogue, Clock, DemandSink, ShardStore, StoreUnavailableError
from daemon.outage import Outage
from daemon.presence.channel import Patience
from daemon.presence.connection import Connection, Line
from daemon.presence.feed import DemandFeed
from daemon.presence.journal import Journal
from daemon.presence.metadata import DEFAULT_RULES, ViewerRules
from daemon.presence.pacing import Pacer, TokenBucket
from daemon.presence.roster import Roster
from daemon.presence.selftest import check_library
from daemon.presence.service_key import warn_of_expiry
from daemon.presence.shards import GROUP, Layout
from daemon.presence.status import ConnectionStatus, PresenceStatus, ShardStatus
from daemon.presence.topics import TopicBook
from daemon.pulse import Pulse
from daemon.service import wait_for_any, wait_or_stop

LOOK_SECONDS = 60.0
"""How late a flag that changed without a ``wake`` is seen."""

DAY_SECONDS = 86_400.0
OVERLAP_SECONDS = 60.0
"""A look at the topics goes back so far, for what was committed late."""

NOTE_SECONDS = 60.0
MOST_UNSEEN_TOPICS = 500
"""Topics that are joined although nobody has been heard in them: whoever asks for more has to show somebody first."""

JOINING_SECONDS = 3.0
"""So long topics are joined in one turn."""
RETRY_SECONDS = 1.0
FAREWELL_SECONDS = 3.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PresenceLimits:
    """How much and how long, in seconds where not said otherwise."""

    leave_grace_seconds: float = 30.0
    """How long a viewer who left still counts."""
    presence_grace_seconds: float = 300.0
    """How long the last view of a silent topic stands."""
    coalesce_seconds: float = 1.0
    """How long a change that is no first view waits for others."""
    session_seconds: float = 21_600.0
    """How old a session may get."""
    renew_seconds: float = 10.0
    """Between two turns of the leases."""
    look_for_topics_seconds: float = 2.0
    """Between two looks for symbol topics that pages ask for."""
    quiet_seconds: float = 600.0
    """A symbol topic without viewers is left after this."""
    channels_per_connection: int = 100
    joins_per_second: float = 50.0
    connections: int = 20
    """At most so many of them, for one connection, in ``connections_seconds``."""
    connections_seconds: float = 600.0


class PresenceListener:
    """Owns a share of the shards, is a member of their topics, and tells the sink what changes.

    While it is not enabled, no channel is joined and everybody has left. A connection that is down changes nothing for
    the presence grace, nor does a database that is down: leases are only lost to another listener.

    Args:
        url: Base URL of the project (``https://ref.supabase.co``).
        key: Reads the service key: a ``service_role`` JWT or an ``sb_secret_...`` key. Never logged.
        layout: How presence is divided.
        shards: Where shards are owned and remembered.
        catalogue: Decides which pairs may be asked for.
        sink: Takes the changes, without blocking and without raising.
        clock: Time.
        rng: For jitter.
        enabled: Whether to track presence now; asked after every ``wake``.
        rules: Who counts as a viewer, and for how much.
        limits: How much and how long.
        patience: How long a session bears with the other side.
    """

    name = "presence"

    def __init__(
        self,
        *,
        url: str,
        key: Callable[[], str],
        layout: Layout,
        shards: ShardStore,
        catalogue: Catalogue,
        sink: DemandSink,
        clock: Clock,
        rng: random.Random,
        enabled: Callable[[], bool],
        rules: ViewerRules = DEFAULT_RULES,
        limits: PresenceLimits,
        patience: Patience,
    ) -> None:
        self._key = key
        self._layout = layout
        self._shards = shards
        self._clock = clock
        self._enabled = enabled
        self._limits = limits
        roster = Roster(
            leave_grace_seconds=limits.leave_grace_seconds,
            presence_grace_seconds=limits.presence_grace_seconds,
            max_pairs=rules.max_pairs,
            full_weight_pairs=rules.full_weight_pairs,
            unverified_viewers=rules.unverified_viewers,
        )
        self._feed = DemandFeed(
            catalogue=catalogue,
            sink=sink,
            clock=clock,
            roster=roster,
            coalesce_seconds=limits.coalesce_seconds,
            rules=rules,
        )
        self._line = Line(
            url=url,
            key=key,
            presence_key=f"refreshd-{rng.getrandbits(32):08x}",
            feed=self._feed,
            clock=clock,
            rng=rng,
            patience=patience,
            pacer=Pacer(clock, limits.joins_per_second),
            session_seconds=limits.session_seconds,
        )
        self._owned: frozenset[str] = frozenset()
        self._topics: dict[str, Connection] = {}
        self._connections: list[Connection] = []
        self._book = TopicBook(quiet_seconds=limits.quiet_seconds)
        self._look_back_seconds = DAY_SECONDS
        self._noted_at = clock.monotonic()
        self._woken = asyncio.Event()
        self._group: asyncio.TaskGroup
        self._stop: asyncio.Event
        self.outage = Outage("presence_shards")
        self.pulse = Pulse(clock.monotonic)

    def wake(self) -> None:
        """Look at once whether presence is to be tracked."""
        self._woken.set()

    def renew(self, cause: str) -> None:
        """Have every connection begin a fresh session, which reads every presence again."""
        for connection in self._connections:
            connection.renew(cause)

    def check_key(self) -> None:
        """Read the service key again; where it has changed, begin fresh sessions with it."""
        key = self._key()
        for connection in self._connections:
            connection.renew_for(key)

    def status(self) -> PresenceStatus:
        """Return how things are."""
        shards = {shard: ShardStatus() for shard in sorted(self._owned)}
        for topic, connection in self._topics.items():
            shard = shards.setdefault(self._layout.shard_of(topic) or "", ShardStatus())
            shard.topics += 1
            shard.confirmed += topic in connection.confirmed
            shard.viewers += self._feed.viewers_in(topic)
        return PresenceStatus(
            enabled=self._enabled(),
            shards=shards,
            connections=[
                ConnectionStatus(
                    each.number,
                    each.age_seconds,
                    len(each.topics),
                    len(each.confirmed),
                    each.journal.reconnects,
                    each.journal.channels_lost,
                )
                for each in self._connections
            ],
            drops=dict(self._feed.drops),
            largest_state=self._feed.largest_state,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Be a member of the channels until ``stop``; nothing leaves the roster because of it.

        Raises:
            ConfigurationError: Where the installed ``realtime`` is not the one that this was written for.
        """
        check_library()
        warn_of_expiry(self._key(), self._clock.now())
        self._stop = stop
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._keep_shards(stop))
            group.create_task(self._keep_time(stop))
        self._feed.flush()
        await self._say_farewell()

    async def _keep_shards(self, stop: asyncio.Event) -> None:
        """Renew leases in time, look for topics more often, and do neither while the database is away."""
        renew_at = 0.0
        while not stop.is_set():
            self.pulse.beat(LOOK_SECONDS, loop="shards")
            try:
                if self._clock.monotonic() >= renew_at or self._enabled() is not bool(self._owned):
                    seconds = await self._turn_shards()
                    renew_at = self._clock.monotonic() + seconds
                await self._turn_topics()
            except StoreUnavailableError as error:
                self.outage.failed(error)
                self._look_back_seconds = DAY_SECONDS  # who knows how much was asked for meanwhile
                await wait_or_stop(stop, RETRY_SECONDS)
            else:
                self.outage.passed()
                seconds = min(renew_at - self._clock.monotonic(), self._seconds_to_look())
                await wait_for_any(stop, self._woken, max(seconds, 0.0))

    def _seconds_to_look(self) -> float:
        return self._limits.look_for_topics_seconds if self._owned and self._layout.has_groups else LOOK_SECONDS

    async def _keep_time(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            seconds_left = self._feed.seconds_left()
            seconds = LOOK_SECONDS if seconds_left is None else seconds_left
            self.pulse.beat(seconds, loop="time")
            await wait_for_any(stop, self._feed.sooner, seconds)
            self._feed.tick()

    # --- shards ---

    async def _turn_shards(self) -> float:
        """Bring what we own in line with the leases; return the seconds to the next turn."""
        if not self._enabled():
            await self._leave_everything()
            return LOOK_SECONDS
        held = await self._shards.hold(self._layout.shards, asdict(self.status()))
        if lost := sorted(self._owned - held.kept):
            await self._give_up(lost)
        if held.surplus:
            await self._shards.release(sorted(held.surplus))
        if gained := sorted(held.kept - self._owned):
            await self._take_on(gained)
        return min(self._limits.renew_seconds, held.next_free_seconds or self._limits.renew_seconds)

    async def _leave_everything(self) -> None:
        """Have all viewers leave: nobody is to be tracked."""
        for topic in list(self._topics):
            await self._leave(topic, handed_over=False)
        if self._owned:
            self._owned = frozenset()
            log.info("presence_turned_off")
            await self._shards.retire()

    async def _give_up(self, shards: Sequence[str]) -> None:
        """Leave shards to other listeners, with their rows."""
        self._owned -= set(shards)
        for topic in [topic for topic in self._topics if self._layout.shard_of(topic) in shards]:
            await self._leave(topic, handed_over=True)
        log.info("shards_handed_over", shards=shards)

    async def _take_on(self, shards: Sequence[str]) -> None:
        log.info("shards_taken", shards=shards)
        for shard in shards:
            if self._layout.is_lobby(shard):
                await self._join(shard, shard)
            self._owned |= {shard}
        self._book.forget(lambda topic: self._layout.shard_of(topic) in shards)
        self._look_back_seconds = DAY_SECONDS

    # --- topics ---

    async def _turn_topics(self) -> None:
        """Join the symbol topics that are asked for and ours; leave those that have been quiet."""
        if not any(shard.startswith(GROUP) for shard in self._owned):
            return
        now = self._clock.monotonic()
        for known in await self._shards.read_topics(self._look_back_seconds):
            if self._layout.shard_of(known.topic) in self._owned:
                self._book.note(known, now)
        self._look_back_seconds = OVERLAP_SECONDS
        for topic in self._symbol_topics():
            if self._feed.viewers_in(topic):
                self._book.viewed(topic, now)
            elif not self._book.wants(topic, now):
                await self._leave(topic, handed_over=False)
        unseen = sum(not self._feed.viewers_in(topic) for topic in self._symbol_topics())
        for topic in self._book.wanted(now):
            shard = self._layout.shard_of(topic)
            if topic not in self._topics and shard in self._owned and unseen < MOST_UNSEEN_TOPICS:
                unseen += 1
                await self._join(topic, shard)
                if self._clock.monotonic() - now > JOINING_SECONDS:
                    break  # the rest follows in the next turn: leases are to be renewed meanwhile
        await self._note_viewed(now)

    async def _note_viewed(self, now: float) -> None:
        if now - self._noted_at >= NOTE_SECONDS:
            await self._shards.note_viewed([topic for topic in self._symbol_topics() if self._feed.viewers_in(topic)])
            self._book.forget_before(now - DAY_SECONDS)
            self._noted_at = now

    def _symbol_topics(self) -> list[str]:
        return [topic for topic in self._topics if not self._layout.is_lobby(topic)]

    async def _join(self, topic: str, shard: str) -> None:
        """Begin with what is remembered of a topic, and join it."""
        await self._feed.open(topic, shard, await self._shards.read_viewers(topic))
        connection = self._topics[topic] = self._roomy_connection()
        connection.add(topic)

    async def _leave(self, topic: str, *, handed_over: bool) -> None:
        self._topics.pop(topic).drop(topic)
        await self._feed.close(topic, handed_over=handed_over)

    def _roomy_connection(self) -> Connection:
        """Return a connection with room for one more channel, a new one where all are full."""
        room = self._limits.channels_per_connection - 1  # one is the canary's
        for connection in self._connections:
            if len(connection.topics) < room:
                return connection
        number = len(self._connections)
        bucket = TokenBucket(self._limits.connections, self._limits.connections_seconds)
        journal = Journal(self._clock, self._line.url, connection=number)
        connection = Connection(number, self._line, bucket, journal)
        self._connections.append(connection)
        self._group.create_task(connection.run(self._stop))
        return connection

    async def _say_farewell(self) -> None:
        """Hand the shards over, or leave them to expire where the database does not answer."""
        with suppress(StoreUnavailableError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._shards.retire()
