"""Who sends a request: Supabase's tokens (RFC 7519), verified.

A signed-in user's token has ``aud`` ``authenticated``, ``role`` ``authenticated`` and a ``sub``: the user. The token of
a logged-out page has ``role`` ``anon`` (the project's ``anon`` key is one, issued by ``supabase`` and without ``aud``),
or the page sends the project's publishable key: either is a connection. Tokens of other roles are refused, above all
those of ``service_role``, which have no business in a page.

The algorithm is that of the key, never one that the token chooses: HS256 for the shared secrets alone, ES256 or RS256
for a key of the issuer's set.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import jwt
import msgspec

from daemon.contracts import RefreshdError
from daemon.tickets import is_subject
from daemon.web.jwks import Jwks

LEEWAY_SECONDS = 10.0
MAX_TOKEN_LENGTH = 8_192
MIN_SECRET_BYTES = 32

USER_ROLE = "authenticated"
ANONYMOUS_ROLE = "anon"
ANONYMOUS_KEY_ISSUER = "supabase"

_jws = jwt.PyJWS()


class TokenRefusedError(RefreshdError):
    """A token is missing or worth nothing. The message holds nothing of the token."""


class Caller(NamedTuple):
    """Who sends a request."""

    user: str | None
    """The ``sub`` of a signed-in user; None for a connection that nobody is signed in on."""


class _Header(msgspec.Struct):
    alg: str
    kid: str = ""


class _Claims(msgspec.Struct):
    exp: Annotated[float, msgspec.Meta(ge=0)]
    role: str
    nbf: float | None = None
    iss: str | None = None
    aud: str | list[str] | None = None
    sub: str | None = None


class TokenVerifier:
    """Verifies tokens.

    Args:
        secrets: Shared secrets for HS256 of at least 32 bytes each; several while one is changed.
        jwks: The issuer's public keys for ES256 and RS256; None where there are none.
        issuer: The ``iss`` of good tokens: ``https://<project>.supabase.co/auth/v1``.
        publishable_keys: Keys that logged-out pages send in place of a token.
        now: Seconds since 1970.
        audience: The ``aud`` of a signed-in user's token.

    Raises:
        ValueError: For a secret that is too short, and where no token could ever be verified.
    """

    def __init__(
        self,
        *,
        secrets: Sequence[str],
        jwks: Jwks | None,
        issuer: str,
        now: Callable[[], float],
        publishable_keys: Sequence[str] = (),
        audience: str = USER_ROLE,
    ) -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self._jwks = jwks
        self._issuer = issuer
        self._publishable_keys = [key.encode() for key in publishable_keys]
        self._now = now
        self._audience = audience
        if any(len(secret) < MIN_SECRET_BYTES for secret in self._secrets):
            raise ValueError(f"a JWT secret has at least {MIN_SECRET_BYTES} bytes")
        if not self._secrets and jwks is None:
            raise ValueError("tokens need a JWT secret or a key set to be verified with")

    async def verify(self, token: str) -> Caller:
        """Return who sends a token. Takes any text.

        Raises:
            TokenRefusedError: For everything but a good token.
            KeysUnavailableError: Where the issuer's keys cannot be had.
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise TokenRefusedError("the token is too long")
        if any(hmac.compare_digest(token.encode(errors="replace"), key) for key in self._publishable_keys):
            return Caller(None)
        return self._caller(_decoded(await self._signed_part(token)))

    async def _signed_part(self, token: str) -> bytes:
        """Return the payload of a token whose signature is good."""
        header = _header(token)
        if header.alg == "HS256":
            candidates: Sequence[jwt.PyJWK | bytes] = self._secrets
        else:
            candidates = [await self._public_key(header)]
        for key in candidates:
            if (payload := _verified(token, key, header.alg)) is not None:
                return payload
        raise TokenRefusedError("the token's signature is not good")

    async def _public_key(self, header: _Header) -> jwt.PyJWK:
        if self._jwks is None or header.alg not in {"ES256", "RS256"}:
            raise TokenRefusedError("tokens of this algorithm are not accepted")
        found = await self._jwks.find(header.kid)
        if found is None or found.algorithm != header.alg:
            raise TokenRefusedError("the token is signed with a key that is not known")
        return found.key

    def _caller(self, claims: _Claims) -> Caller:
        now = self._now()
        if claims.exp + LEEWAY_SECONDS <= now:
            raise TokenRefusedError("the token has expired")
        if claims.nbf is not None and claims.nbf - LEEWAY_SECONDS > now:
            raise TokenRefusedError("the token is not good yet")
        if claims.role == ANONYMOUS_ROLE:
            if claims.iss not in {None, self._issuer, ANONYMOUS_KEY_ISSUER}:
                raise TokenRefusedError("the token is of another issuer")
            return Caller(None)
        return Caller(self._user(claims))

    def _user(self, claims: _Claims) -> str:
        if claims.iss != self._issuer:
            raise TokenRefusedError("the token is of another issuer")
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud or []
        if self._audience not in audiences or claims.role != USER_ROLE:
            raise TokenRefusedError("the token is for another audience or role")
        if claims.sub is None or not is_subject(claims.sub):
            raise TokenRefusedError("the token names no user")
        return claims.sub


def _header(token: str) -> _Header:
    """Return the header, of which nothing is believed yet."""
    try:
        return msgspec.convert(jwt.get_unverified_header(token), _Header)
    except (jwt.PyJWTError, msgspec.ValidationError, ValueError, RecursionError):
        raise TokenRefusedError("the token cannot be read") from None


def _verified(token: str, key: jwt.PyJWK | bytes, algorithm: str) -> bytes | None:
    """Return the payload, None where the signature is not of this key."""
    try:
        payload = _jws.decode(token, key, algorithms=[algorithm])
    except jwt.PyJWTError:
        return None
    return payload if isinstance(payload, bytes) else None


def _decoded(payload: bytes) -> _Claims:
    try:
        return msgspec.json.decode(payload, type=_Claims)
    except (msgspec.MsgspecError, RecursionError):
        raise TokenRefusedError("the token's claims cannot be used") from None
