"""Protocol version 2.0.0: JSON arrays as text, and broadcasts as binary frames of kind 3 and 4.

The layout of both kinds is that of the official JavaScript client's serializer: one byte each for the kind, the
lengths of the fields in bytes, and the encoding of the payload (0 binary, 1 JSON), then the fields, then the payload.
"""

import json

from devstack.realtime.wire import Broadcast, Frame, MalformedFrameError, Message, decode_json

CLIENT_BROADCAST = 3
SERVER_BROADCAST = 4
"""The kinds of binary frames: what a client pushes, and what it is sent."""

_JSON = 1
_HEADER_BYTES = 7
_FIELDS = 5


class ArraySerializer:
    """Version 2.0.0: ``[join_ref, ref, topic, event, payload]``, and binary frames for broadcasts."""

    def decode(self, frame: Frame) -> Message:
        """Return the message in ``frame`` or raise `MalformedFrameError`."""
        if isinstance(frame, bytes):
            return _decode_client_broadcast(frame)
        fields = decode_json(frame)
        if not isinstance(fields, list) or len(fields) != _FIELDS:
            raise MalformedFrameError("a message is an array of join_ref, ref, topic, event and payload")
        join_ref, ref, topic, event, payload = fields
        if not isinstance(topic, str) or not isinstance(event, str):
            raise MalformedFrameError("topic and event are strings")
        return Message(topic, event, payload, ref=ref, join_ref=join_ref)

    def encode(self, message: Message) -> Frame:
        """Return the frame that carries ``message``."""
        if isinstance(message.payload, Broadcast):
            return _encode_server_broadcast(message.topic, message.payload)
        fields = [message.join_ref, message.ref, message.topic, message.event, message.payload]
        return json.dumps(fields, separators=(",", ":"))


def _decode_client_broadcast(frame: bytes) -> Message:
    header, *lengths = frame[:_HEADER_BYTES] if len(frame) >= _HEADER_BYTES else (None,)
    if header != CLIENT_BROADCAST:
        raise MalformedFrameError("a binary frame is a broadcast of kind 3")
    is_json = lengths.pop() == _JSON
    fields, end = [], _HEADER_BYTES
    for length in lengths:
        fields.append(frame[end : end + length])
        end += length
    if end > len(frame):
        raise MalformedFrameError("a binary frame is shorter than it says")
    try:
        join_ref, ref, topic, event, _meta = (field.decode() for field in fields)
    except UnicodeDecodeError:
        raise MalformedFrameError("the fields of a binary frame are UTF-8") from None
    payload = Broadcast(event, frame[end:], is_json=is_json)
    if is_json:
        decode_json(payload.body)
    return Message(topic, "broadcast", payload, ref=ref or None, join_ref=join_ref or None)


def _encode_server_broadcast(topic: str, broadcast: Broadcast) -> bytes:
    fields = [topic.encode(), broadcast.event.encode(), b""]  # no meta: it marks broadcasts that are replayed
    header = bytes([SERVER_BROADCAST, *map(len, fields), int(broadcast.is_json)])
    return b"".join([header, *fields, broadcast.body])
