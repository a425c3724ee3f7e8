"""Faults of the development Realtime server: switches that hold until they are turned off, and acts done at once."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from devstack.realtime.presence import Diff
from devstack.realtime.wire import Frame

if TYPE_CHECKING:
    from devstack.realtime.rooms import Member, Rooms
    from devstack.realtime.sockets import Socket

DiffFault = Callable[[Diff], Iterable[Diff]]
"""What is sent to a room in place of a diff."""


@dataclass(frozen=True, slots=True)
class JoinFault:
    """What happens to the next joins of a topic."""

    refused_because: str | None = None
    delay_seconds: float = 0.0
    """How long the answer takes; everything else on that socket waits too."""
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class StateFault:
    """What happens to the presence state of a topic."""

    delay_seconds: float = 0.0
    missing: bool = False
    early_diff: Diff | None = None
    """Sent after the join's reply and before the state."""


@dataclass(slots=True)
class Switches:
    """What is wrong for as long as it is set; nothing in a new server.

    A switch is looked at whenever it could matter, so it works on what is there already.
    """

    http_status: int | None = None
    """Handshakes are refused with this status."""
    redirect_to: str | None = None
    handshakes_unanswered: bool = False
    """Handshakes that come meanwhile get no answer, not even when this is off again."""
    close_on_accept: int | None = None
    """Every new socket is closed with this code."""
    phoenix_silent: bool = False
    """WebSocket pings are answered and no message is."""
    broadcasts_swallowed: bool = False
    joins: dict[str, JoinFault] = field(default_factory=dict)
    """By topic, without ``realtime:``."""
    states: dict[str, StateFault] = field(default_factory=dict)
    """By topic."""
    diffs: dict[str, DiffFault] = field(default_factory=dict)
    """By topic."""

    def heal(self) -> None:
        """Turn every switch off; sockets that are frozen stay so."""
        healthy = Switches()
        for switch in fields(self):
            setattr(self, switch.name, getattr(healthy, switch.name))

    def on_join(self, topic: str) -> JoinFault:
        """Return what is wrong with joins of this topic."""
        return self.joins.get(topic, JoinFault())

    def on_state(self, topic: str) -> StateFault:
        """Return what is wrong with states of this topic."""
        return self.states.get(topic, StateFault())

    def on_diff(self, topic: str, diff: Diff) -> Iterable[Diff]:
        """Return what is sent in place of ``diff``."""
        fault = self.diffs.get(topic)
        return [diff] if fault is None else fault(diff)


class Faults:
    """What can be done to the sockets, channels and rooms of a server.

    Acts on sockets are done to those of one role, or of all where ``role`` is None.
    """

    def __init__(self, rooms: Rooms, sockets: set[Socket]) -> None:
        self._rooms = rooms
        self._sockets = sockets

    def close(self, code: int, reason: str = "", *, role: str | None = None) -> None:
        """Close sockets with this code, after what is still to be sent."""
        for socket in self._of(role):
            socket.close(code, reason)

    def reset(self, *, role: str | None = None) -> None:
        """Reset TCP connections."""
        for socket in self._of(role):
            socket.reset()

    def freeze(self, *, role: str | None = None) -> None:
        """Leave the TCP connections of now open and neither read nor write any more: half-open, as seen from there."""
        for socket in self._of(role):
            socket.freeze()

    def send(self, frame: Frame, *, role: str | None = None) -> None:
        """Send a frame, whatever it holds."""
        for socket in self._of(role):
            socket.put(frame)

    def crash(self, topic: str) -> None:
        """End every channel of ``topic`` by ``phx_error``."""
        self._each(topic, lambda member: member.end("phx_error"))

    def shut_down(self, topic: str, reason: str = "Too many messages per second") -> None:
        """End every channel of ``topic`` as a limit does: a ``system`` error, then ``phx_close``."""
        self._each(topic, lambda member: member.shut_down(reason))

    def fill(self, topic: str, metas: Iterable[tuple[str, dict[str, Any]]], *, private: bool = True) -> None:
        """Put presences without clients, ``(key, payload)``, into a room that somebody is in; nobody is told."""
        for room in self._rooms.named(topic, private=private):
            for key, payload in metas:
                room.presences.track(object(), key, payload)

    def _of(self, role: str | None) -> list[Socket]:
        return [socket for socket in self._sockets if role in {None, socket.role}]

    def _each(self, topic: str, act: Callable[[Member], object]) -> None:
        for room in self._rooms.named(topic):
            for member in list(room.members):
                act(member)


def losing_every(number: int) -> DiffFault:
    """Lose one diff in so many."""
    counter = itertools.count(1)
    return lambda diff: [] if next(counter) % number == 0 else [diff]


def doubling(diff: Diff) -> list[Diff]:
    """Send everything twice."""
    return [diff, diff]


def with_ghosts(diff: Diff) -> list[Diff]:
    """Have somebody leave whom nobody has seen join, under the same keys too."""
    ghosts: Diff = {"joins": {}, "leaves": {key: {"metas": [_ghost()]} for key in [*diff["joins"], "ghost"]}}
    return [ghosts, diff, ghosts]


def leaving_early() -> DiffFault:
    """Send each diff after the one that follows it: leaves come before their joins."""
    held: list[Diff] = []

    def swap(diff: Diff) -> list[Diff]:
        if not held:
            held.append(diff)
            return []
        return [diff, held.pop()]

    return swap


def _ghost() -> dict[str, Any]:
    return {"phx_ref": secrets.token_urlsafe(12), "userId": "ghost"}
