"""Messages, and how each protocol version puts them on the wire. Channels know messages only, never frames."""

import json
from dataclasses import dataclass
from typing import Any, Protocol

Frame = str | bytes
"""One WebSocket message: text or binary."""

MAX_DEPTH = 200
"""Nesting that is still accepted: whatever was decoded can then be encoded again for the others."""


class MalformedFrameError(ValueError):
    """A frame that is no message of its protocol version. The hosted server drops the socket that sent it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A Phoenix message. ``ref`` and ``join_ref`` are chosen by clients and echoed as they came."""

    topic: str
    event: str
    payload: Any
    ref: Any = None
    join_ref: Any = None

    def reply(self, status: str, response: dict[str, Any] | None = None) -> "Message":
        """Return the ``phx_reply`` to this message."""
        payload = {"status": status, "response": response or {}}
        return Message(self.topic, "phx_reply", payload, ref=self.ref, join_ref=self.join_ref)


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A broadcast that came in a binary frame: ``body`` is passed on as it is, JSON or not."""

    event: str
    body: bytes
    is_json: bool

    def as_json(self) -> dict[str, Any]:
        """Return what a client of version 1.0.0 gets, which knows no other bodies than JSON."""
        return {"type": "broadcast", "event": self.event, "payload": json.loads(self.body)}


class Serializer(Protocol):
    """One protocol version."""

    def decode(self, frame: Frame) -> Message:
        """Return the message in ``frame`` or raise `MalformedFrameError`."""
        ...

    def encode(self, message: Message) -> Frame | None:
        """Return the frame that carries ``message``; None where this version has none for it."""
        ...


class ObjectSerializer:
    """Version 1.0.0: JSON objects as text. What the server sends carries no ``join_ref``; binary frames are unknown."""

    def decode(self, frame: Frame) -> Message:
        """Return the message in ``frame`` or raise `MalformedFrameError`."""
        if isinstance(frame, bytes):
            raise MalformedFrameError("binary frame under version 1.0.0")
        fields = decode_json(frame)
        if not isinstance(fields, dict) or not fields.keys() >= {"topic", "event", "payload", "ref"}:
            raise MalformedFrameError("topic, event, payload and ref are required")
        topic, event = fields["topic"], fields["event"]
        if not isinstance(topic, str) or not isinstance(event, str):
            raise MalformedFrameError("topic and event are strings")
        return Message(topic, event, fields["payload"], ref=fields["ref"], join_ref=fields.get("join_ref"))

    def encode(self, message: Message) -> Frame | None:
        """Return the frame that carries ``message``; None for a broadcast that is no JSON."""
        payload = message.payload
        if isinstance(payload, Broadcast):
            if not payload.is_json:
                return None
            payload = payload.as_json()
        fields = {"topic": message.topic, "event": message.event, "payload": payload, "ref": message.ref}
        return json.dumps(fields, separators=(",", ":"))


def decode_json(text: str | bytes) -> Any:
    """Return the decoded ``text``, which can be encoded again, or raise `MalformedFrameError`."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedFrameError(f"not JSON: {type(error).__name__}") from None
    if _is_deeper(value, MAX_DEPTH):
        raise MalformedFrameError("nested too deeply")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        containers = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for container in containers for child in container if isinstance(child, dict | list)]
        if not level:
            return False
    return True
