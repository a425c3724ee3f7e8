"""Rooms: the members of one topic, their presences, and the delivery of events to them."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from devstack.realtime.bindings import Change
from devstack.realtime.faults import Switches
from devstack.realtime.limits import Limits, Meter
from devstack.realtime.presence import Diff, Presences
from devstack.realtime.wire import Frame, Message, Serializer

PREFIX = "realtime:"
"""What the topics of channels begin with on the wire."""


class Outlet(Protocol):
    """Where frames for one client go."""

    @property
    def serializer(self) -> Serializer:
        """How this client wants its messages."""
        ...

    def put(self, frame: Frame | None) -> None:
        """Send ``frame``, where there is one, after those before it, without waiting."""
        ...


class Member(Protocol):
    """A channel in a room. Its identity is its equality."""

    @property
    def outlet(self) -> Outlet:
        """Where events for this member go."""
        ...

    @property
    def presence_key(self) -> str:
        """What this member tracks under."""
        ...

    @property
    def reads_presence(self) -> bool:
        """Whether diffs are for this member."""
        ...

    def hears(self, sender: object) -> bool:
        """Whether the broadcasts of ``sender`` are for this member."""
        ...

    def take_change(self, change: Change) -> None:
        """Take a change of the database, which may not be for this member."""
        ...

    def end(self, event: str = "phx_close") -> None:
        """Leave, and tell the client by ``phx_close`` or ``phx_error``."""
        ...

    def shut_down(self, reason: str) -> None:
        """End as every limit ends a channel."""
        ...


class Changes:
    """Lets others wait for something to become true without asking again and again."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Have every waiting condition looked at again."""
        self._next.set()
        self._next = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return as soon as ``condition`` holds."""
        while not condition():
            await self._next.wait()


class Room:
    """One topic, public or private: the same name in both worlds makes two rooms."""

    def __init__(
        self, topic: str, changes: Changes, vacated: Callable[[], object], switches: Switches, copies: Meter
    ) -> None:
        self.topic = topic
        self._switches = switches
        self._copies = copies
        self.members: dict[Member, None] = {}
        self.presences = Presences()
        self._changes = changes
        self._vacated = vacated

    def join(self, member: Member) -> None:
        """Let ``member`` in."""
        self.members[member] = None
        self._changes.notify()

    def leave(self, member: Member) -> None:
        """Let ``member`` out and tell the others that its presence is gone. Leaving twice is harmless."""
        if member in self.members:
            del self.members[member]
            self.untrack(member)
            if not self.members:
                self._vacated()
            self._changes.notify()

    def track(self, member: Member, payload: dict[str, Any]) -> None:
        """Set the presence of ``member`` and tell everybody who may know, itself included."""
        copies = self._tell(self.presences.track(member, member.presence_key, payload))
        if not self._copies.allows(copies):
            member.shut_down("Too many presence messages per second")

    def untrack(self, member: Member) -> None:
        """Remove the presence of ``member``, where it has one, and tell everybody who may know."""
        diff = self.presences.untrack(member, member.presence_key)
        if diff is not None:
            self._copies.allows(self._tell(diff))  # counted, though nobody is closed for going

    def broadcast(self, sender: Member, payload: Any) -> None:
        """Deliver what ``sender`` broadcasts."""
        self.deliver("broadcast", payload, [member for member in self.members if member.hears(sender)])

    def deliver(self, event: str, payload: Any, to: Iterable[Member]) -> None:
        """Send one event to some members; it is encoded once per protocol version."""
        message = Message(PREFIX + self.topic, event, payload)
        frames: dict[Serializer, Frame | None] = {}
        for member in to:
            serializer = member.outlet.serializer
            if serializer not in frames:
                frames[serializer] = serializer.encode(message)
            member.outlet.put(frames[serializer])

    def _tell(self, diff: Diff) -> int:
        """Send a diff to everybody who may know, and return how many that are."""
        readers = [member for member in self.members if member.reads_presence]
        for sent in self._switches.on_diff(self.topic, diff):
            self.deliver("presence_diff", sent, readers)
        self._changes.notify()
        return len(readers)


class Rooms:
    """Every room that somebody is in."""

    def __init__(self, changes: Changes, switches: Switches, limits: Limits) -> None:
        self._changes = changes
        self._switches = switches
        self._limits = limits
        self._rooms: dict[tuple[str, bool], Room] = {}

    def open(self, topic: str, *, private: bool) -> Room:
        """Return the room of ``topic``, made where there is none; it lasts until its last member leaves."""
        place = (topic, private)
        if place not in self._rooms:
            copies = Meter(self._limits.presence_messages_per_second, 1.0)
            vacated = partial(self._rooms.pop, place, None)
            self._rooms[place] = Room(topic, self._changes, vacated, self._switches, copies)
        return self._rooms[place]

    def topics(self) -> list[str]:
        """Return the topics of all rooms, public or private."""
        return [topic for topic, _ in self._rooms]

    def take_change(self, change: Change) -> None:
        """Hand a change of the database to every member of every room."""
        for room in list(self._rooms.values()):
            for member in list(room.members):
                member.take_change(change)

    def named(self, topic: str, *, private: bool | None = None) -> list[Room]:
        """Return the rooms of ``topic``: of one world, or of both where ``private`` is None."""
        worlds = (False, True) if private is None else (private,)
        return [self._rooms[topic, world] for world in worlds if (topic, world) in self._rooms]
