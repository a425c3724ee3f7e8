"""The public keys of the tokens' issuer (RFC 7517), fetched when they are needed and at most once a minute.

Each key is good for one algorithm, which follows from the key and never from a token: P-256 for ES256, RSA of at least
2,048 bits for RS256. Symmetric keys, other curves and keys meant for encryption are passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Literal, NamedTuple

import aiohttp
import jwt
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from daemon.contracts import RefreshdError
from daemon.outage import Outage

FETCH_SECONDS = 3.0
LEAST_SECONDS_BETWEEN_FETCHES = 60.0
CURRENT_SECONDS = 600.0
"""So old may the keys get before they are fetched again, so that a withdrawn key ends."""

TRUSTED_SECONDS = 86_400.0
"""So old may they get where they cannot be fetched."""

MAX_BYTES = 65_536
MAX_KEYS = 32
MIN_RSA_BITS = 2_048

log = structlog.get_logger()


class KeysUnavailableError(RefreshdError):
    """The issuer's keys cannot be had now: whether a token is good is not known.

    Args:
        retry_after_seconds: When they may be asked for again.
    """

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__("the keys of the tokens' issuer cannot be fetched")
        self.retry_after_seconds = retry_after_seconds


class PublicKey(NamedTuple):
    """A key and the one algorithm it is good for."""

    algorithm: Literal["ES256", "RS256"]
    key: jwt.PyJWK


class _KeySet(msgspec.Struct):
    keys: list[msgspec.Raw]


class _Jwk(msgspec.Struct, omit_defaults=True):
    kty: str
    kid: str
    alg: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    crv: str = ""
    x: str = ""
    y: str = ""
    n: str = ""
    e: str = ""


class Jwks:
    """Finds keys by their ids.

    Args:
        url: Where the set is, such as ``https://<project>.supabase.co/auth/v1/.well-known/jwks.json``.
        monotonic: Seconds that never go back.
    """

    def __init__(self, url: str, monotonic: Callable[[], float]) -> None:
        self._url = url
        self._monotonic = monotonic
        self._keys: Mapping[str, PublicKey] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._turn = asyncio.Lock()
        self._outage = Outage("token_keys", "tokens of known keys are verified for a day; check REFRESHD_JWKS_URL")

    async def find(self, key_id: str) -> PublicKey | None:
        """Return the key, None where the issuer has none of this id.

        Raises:
            KeysUnavailableError: Where the issuer cannot be asked, and the key is not known or known for too long.
        """
        key = self._keys.get(key_id)
        age = self._monotonic() - self._fetched_at
        if key is not None and (age < CURRENT_SECONDS or (age < TRUSTED_SECONDS and self._turn.locked())):
            return key  # nobody waits for a fetch whose answer can hardly change theirs
        await self._fetch_at_most_once_a_minute()
        key = self._keys.get(key_id)
        is_trusted = self._monotonic() - self._fetched_at < TRUSTED_SECONDS
        if not is_trusted or (key is None and self._outage.lasts):
            wait = self._tried_at + LEAST_SECONDS_BETWEEN_FETCHES - self._monotonic()
            raise KeysUnavailableError(max(wait, 1.0))
        return key

    async def _fetch_at_most_once_a_minute(self) -> None:
        """Fetch the set unless that was tried within a minute; a failure keeps the keys there are."""
        async with self._turn:
            if self._monotonic() - self._tried_at < LEAST_SECONDS_BETWEEN_FETCHES:
                return
            self._tried_at = self._monotonic()
            try:
                keys = _usable(await _download(self._url))
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                self._outage.failed(error)
                return
            self._outage.passed()
            if keys.keys() != self._keys.keys():
                log.info("token_keys_changed", keys=len(keys))
            self._keys, self._fetched_at = keys, self._monotonic()


async def _download(url: str) -> bytes:
    """Return the body of a 200.

    Raises:
        ValueError: For another status, a redirect included, and for a body that is too large.
        aiohttp.ClientError: For what goes wrong on the way.
        TimeoutError: After three seconds.
    """
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as answer,
    ):
        if answer.status != HTTPStatus.OK:
            raise ValueError(f"the key set was answered with status {answer.status}")
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError(f"the key set is larger than {MAX_BYTES} bytes")
        return bytes(body)


def _usable(body: bytes) -> dict[str, PublicKey]:
    """Return the keys that can verify tokens, by their ids.

    Raises:
        ValueError: For what is no key set.
    """
    keys: dict[str, PublicKey] = {}
    try:
        entries = msgspec.json.decode(body, type=_KeySet).keys
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError("the key set cannot be read") from error
    for entry in entries[:MAX_KEYS]:
        try:
            jwk = msgspec.json.decode(entry, type=_Jwk)
            key = _public_key(jwk)
        except (msgspec.MsgspecError, jwt.PyJWTError, ValueError, RecursionError):
            continue
        if key is not None:
            keys.setdefault(jwk.kid, key)
    return keys


def _public_key(jwk: _Jwk) -> PublicKey | None:
    if jwk.use not in {None, "sig"} or (jwk.key_ops is not None and "verify" not in jwk.key_ops):
        return None
    match jwk.kty, jwk.crv, jwk.alg:
        case "EC", "P-256", None | "ES256":
            point = {"kty": "EC", "crv": "P-256", "x": jwk.x, "y": jwk.y}
            return PublicKey("ES256", jwt.PyJWK(point, algorithm="ES256"))
        case "RSA", _, None | "RS256":
            key = jwt.PyJWK({"kty": "RSA", "n": jwk.n, "e": jwk.e}, algorithm="RS256")
            is_long = isinstance(key.key, RSAPublicKey) and key.key.key_size >= MIN_RSA_BITS
            return PublicKey("RS256", key) if is_long else None
    return None
