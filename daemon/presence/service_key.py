"""What can be told of the service key without the secret that signed it."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

import orjson

JWT_PARTS = 3


def key_expires_at(key: str) -> datetime | None:
    """Return when a key that is a JWT expires; None for an ``sb_secret_...`` key, which does not."""
    parts = key.split(".")
    if len(parts) != JWT_PARTS:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError, OSError):
        return None
