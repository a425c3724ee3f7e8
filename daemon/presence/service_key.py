"""What can be told of the service key without the secret that signed it."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from datetime import UTC, datetime

import orjson
import structlog

from daemon.contracts import RefreshdError

KEY_SETTING = "SUPABASE_SERVICE_ROLE_KEY"
JWT_PARTS = 3
EXPIRES_SOON_SECONDS = 86_400.0

log = structlog.get_logger()


class KeyReader:
    """Reads the service key afresh, and keeps the last good one when that fails.

    Args:
        key: The key as of the start.
        read: Reads it from where the settings come from.
    """

    def __init__(self, key: str, read: Callable[[], str]) -> None:
        self._key = key
        self._read = read

    def __call__(self) -> str:
        """Return the key to use now."""
        try:
            self._key = self._read()
        except RefreshdError as error:
            log.warning("service_key_not_read", error=str(error), hint="the last good key is used")
        return self._key


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


def seconds_until_expiry(key: str, now: datetime) -> float:
    """Return how long a key is still good; infinity where it does not expire."""
    expires_at = key_expires_at(key)
    return math.inf if expires_at is None else (expires_at - now).total_seconds()


def warn_of_expiry(key: str, now: datetime) -> None:
    """Say so where a key is about to expire."""
    expires_at = key_expires_at(key)
    if expires_at is not None and seconds_until_expiry(key, now) < EXPIRES_SOON_SECONDS:
        hint = f"put a fresh key into {KEY_SETTING}"
        log.warning("service_key_found_expiring", expires_at=expires_at.isoformat(), hint=hint)
