"""Realtime frames of protocol version 1.0.0, decoded without trusting them.

Presence frames can be megabytes: they are decoded as plain JSON, never validated as models.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, NamedTuple

import orjson

from daemon.presence.collection import building

PREFIX = "realtime:"
"""What the topics of channels begin with on the wire."""


LARGE_BYTES = 256 * 1024


class Frame(NamedTuple):
    """One message of the server."""

    topic: str
    event: str
    payload: Any
    ref: str | None


def decode_frame(raw: bytes) -> Frame | None:
    """Return what a frame says, or None where it is no message."""
    message = _decode(raw)
    if not isinstance(message, dict):
        return None
    topic, event, ref = message.get("topic"), message.get("event"), message.get("ref")
    if not isinstance(topic, str) or not isinstance(event, str):
        return None
    return Frame(topic.removeprefix(PREFIX), event, message.get("payload"), ref if isinstance(ref, str) else None)


def _decode(raw: bytes) -> Any:
    """Decode JSON, the odd kinds too: one viewer's lone surrogate must not cost everybody's state."""
    try:
        with building() if len(raw) > LARGE_BYTES else contextlib.nullcontext():
            return orjson.loads(raw)
    except ValueError:
        pass
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
