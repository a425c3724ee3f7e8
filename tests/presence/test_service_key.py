"""What a service key tells of itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from daemon.presence.service_key import key_expires_at
from devstack.realtime.tokens import mint_token
from tests.presence.stage import SECRET


def test_a_token_tells_when_it_expires() -> None:
    key = mint_token(SECRET, "service_role", expires_in_seconds=3600)

    expires_at = key_expires_at(key)

    assert expires_at is not None
    assert 3590 < expires_at.timestamp() - time.time() <= 3600
    assert expires_at.tzinfo is UTC


@pytest.mark.parametrize(
    "key", ["", "sb_secret_abc", "a.b.c", "a.e30.c", "a.eyJleHAiOiJ4In0.c", "a.eyJleHAiOjFlOTl9.c", "..", "é.é.é"]
)
def test_what_is_no_token_does_not_expire(key: str) -> None:
    assert key_expires_at(key) is None


def test_expiry_is_a_time_of_day() -> None:
    assert key_expires_at("a.eyJleHAiOjB9.c") == datetime(1970, 1, 1, tzinfo=UTC)
