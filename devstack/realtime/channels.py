"""One client in one room: what happens from its join to its end. Nothing here waits."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from devstack.realtime.access import Access, Gate, Permissions
from devstack.realtime.bindings import Binding, Change
from devstack.realtime.faults import Switches
from devstack.realtime.joins import JoinConfig
from devstack.realtime.limits import Limits, Meter
from devstack.realtime.rooms import Outlet, Room
from devstack.realtime.tokens import RefusedError
from devstack.realtime.wire import Message


@dataclass(slots=True)
class Readers:
    """Who may read which published table; nobody, until a feed of changes is there."""

    may_read: Callable[[str, str, str | None], bool] = lambda _role, _schema, _table: False
    """Role, schema and table; None stands for any table."""


class ChannelCrashError(Exception):
    """A push on which the hosted server's channel dies."""


class Connection(Outlet, Protocol):
    """What a channel needs of the socket that it runs over."""

    def send(self, message: Message) -> None:
        """Send ``message`` after those before it, without waiting."""
        ...

    def forget(self, channel: "Channel") -> None:
        """Route nothing to ``channel`` any more."""
        ...


class Around(Protocol):
    """What a channel needs of its server."""

    @property
    def gate(self) -> Gate:
        """Who gets in."""
        ...

    @property
    def limits(self) -> Limits:
        """What a client is closed for."""
        ...

    @property
    def switches(self) -> Switches:
        """What is wrong on purpose."""
        ...

    @property
    def readers(self) -> Readers:
        """Who may read which table."""
        ...


class Channel:
    """A membership: the member that its room knows, and the handler of its client's pushes."""

    def __init__(
        self,
        connection: Connection,
        room: Room,
        around: Around,
        *,
        join: Message,
        config: JoinConfig,
        access: Access,
    ) -> None:
        self.topic = join.topic
        self.join_ref = join.ref if join.join_ref is None else join.join_ref
        self.outlet = connection
        self.presence_key = config.presence_key
        self._config = config
        self._presence_enabled = config.presence_enabled
        self._room = room
        self._around = around
        self._access = access
        self._tracks = Meter(around.limits.tracks_per_30_seconds, 30.0)
        self._bindings: Sequence[Binding] = ()
        self._tracked: dict[str, Any] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._late_state: asyncio.TimerHandle | None = None
        room.join(self)
        self._watch_expiry()

    @property
    def permissions(self) -> Permissions:
        """What the token in force grants."""
        return self._access.permissions

    @property
    def reads_presence(self) -> bool:
        """Whether diffs come here: in public channels always, even where presence was not enabled."""
        return self.permissions.presence_read and (self._presence_enabled or not self._config.private)

    def hears(self, sender: object) -> bool:
        """Whether the broadcasts of ``sender`` come here: its own only where it asked for them."""
        return self.permissions.broadcast_read and (self is not sender or self._config.self_broadcast)

    def begin(self) -> None:
        """Send what follows the answer to a join: the presence state, and the word on ``postgres_changes``."""
        self._sync_presence()
        if self._config.bindings:
            self._subscribe_to_changes(self._config.bindings)

    def take_change(self, change: Change) -> None:
        """Send a change of the database, where a binding matches it."""
        matching = [binding.id for binding in self._bindings if binding.matches(change)]
        if matching:
            self._push("postgres_changes", change.payload(matching))

    def _sync_presence(self) -> None:
        """Send the full state, where it was asked for and may be read."""
        if not (self._presence_enabled and self.permissions.presence_read):
            return
        fault = self._around.switches.on_state(self._room.topic)
        if fault.early_diff is not None:
            self._push("presence_diff", fault.early_diff)
        if fault.delay_seconds:
            self._late_state = asyncio.get_running_loop().call_later(fault.delay_seconds, self._push_state)
        elif not fault.missing:
            self._push_state()

    def _push_state(self) -> None:
        self._push("presence_state", self._room.presences.state())

    def _subscribe_to_changes(self, bindings: Sequence[Binding]) -> None:
        role = self._access.identity.role
        for binding in bindings:
            if not (binding.is_known and self._around.readers.may_read(role, binding.schema, binding.table)):
                asked = f"[schema: {binding.schema}, table: {binding.table}, filters: {binding.filter}]"
                self._tell_system(
                    "postgres_changes",
                    "error",
                    "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the"
                    f" given connect parameters: {asked}",
                )
                return
        self._bindings = bindings
        self._tell_system("postgres_changes", "ok", "Subscribed to PostgreSQL")

    def handle(self, message: Message) -> None:
        """Handle one push. Events that nobody knows are ignored.

        Raises:
            ChannelCrashError: Where the hosted server's channel would crash.
        """
        match message.event:
            case "presence":
                self._handle_presence(message)
            case "broadcast":
                self._handle_broadcast(message)
            case "access_token":
                self._handle_access_token(message)
            case "phx_leave":
                self.outlet.send(message.reply("ok"))
                self.end()

    def end(self, event: str = "phx_close") -> None:
        """Leave the room and tell the client, by ``phx_close`` or ``phx_error``."""
        self.leave()
        self.outlet.send(self.closing(event))
        self.outlet.forget(self)

    def leave(self) -> None:
        """Leave the room without a word to the client."""
        for timer in (self._expiry, self._late_state):
            if timer is not None:
                timer.cancel()
        self._room.leave(self)

    def closing(self, event: str = "phx_close") -> Message:
        """Return the message that ends this channel, and no later one of the same topic."""
        return Message(self.topic, event, {}, ref=self.join_ref, join_ref=self.join_ref)

    def _handle_presence(self, message: Message) -> None:
        if not isinstance(message.payload, dict) or "event" not in message.payload:
            self.outlet.send(message.reply("ok"))
            return
        event = message.payload["event"]
        if not isinstance(event, str):
            raise ChannelCrashError("the presence event is no string")
        if not self._tracks.allows():
            self.shut_down("Client presence rate limit exceeded")
            return
        match event.lower():
            case "track":
                self._track(message)
            case "untrack":
                self._tracked = None
                self.outlet.send(message.reply("ok"))
                self._room.untrack(self)
            case _:
                self.outlet.send(message.reply("error"))

    def _track(self, message: Message) -> None:
        payload = message.payload.get("payload", {})
        if not self.permissions.presence_write:
            self.outlet.send(message.reply("error"))
        elif not isinstance(payload, dict):
            self.outlet.send(message.reply("error", {"reason": "Presence track payload must be a map"}))
        else:
            self.outlet.send(message.reply("ok"))
            self._set_presence(payload)

    def _set_presence(self, payload: dict[str, Any]) -> None:
        if payload == self._tracked:  # the hosted server tells nobody that nothing has changed
            return
        self._tracked = payload
        # A first track enables presence, and what was not sent on joining is sent then.
        enables, self._presence_enabled = not self._presence_enabled, True
        self._room.track(self, payload)
        if enables and self in self._room.members:
            self._sync_presence()

    def _handle_broadcast(self, message: Message) -> None:
        if not self.permissions.broadcast_write or self._around.switches.broadcasts_swallowed:
            return
        self._room.broadcast(self, message.payload)
        if self._config.ack_broadcast:
            self.outlet.send(message.reply("ok"))

    def _handle_access_token(self, message: Message) -> None:
        token = message.payload.get("access_token") if isinstance(message.payload, dict) else None
        if not isinstance(token, str) or token.startswith("sb_") or token == self._access.identity.token:
            return
        before = self.permissions
        try:
            self._access = self._admit(token)
        except RefusedError as refusal:
            self.shut_down(refusal.message)
            return
        if _lost_reading(before, self.permissions):
            self.shut_down(f"You no longer have permission to read from this Channel topic: {self._room.topic}")
        else:
            self._watch_expiry()

    def _admit(self, token: str) -> Access:
        return self._around.gate.admit(
            token, self._room.topic, private=self._config.private, presence_enabled=self._presence_enabled
        )

    def _watch_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        expires_at = self._access.identity.expires_at
        if expires_at is not None:
            delay = max(0.0, expires_at - time.time())
            self._expiry = asyncio.get_running_loop().call_later(
                delay, self.shut_down, "Token has expired 0 seconds ago"
            )

    def shut_down(self, reason: str) -> None:
        """End this channel as every limit does on the hosted server: first the reason, then ``phx_close``."""
        self._tell_system("system", "error", reason)
        self.end()

    def _tell_system(self, extension: str, status: str, message: str) -> None:
        payload = {"channel": self._room.topic, "extension": extension, "status": status, "message": message}
        self._push("system", payload)

    def _push(self, event: str, payload: Any) -> None:
        self.outlet.send(Message(self.topic, event, payload, join_ref=self.join_ref))


def _lost_reading(before: Permissions, now: Permissions) -> bool:
    return (before.presence_read and not now.presence_read) or (before.broadcast_read and not now.broadcast_read)
