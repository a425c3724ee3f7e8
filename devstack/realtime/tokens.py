"""API keys and tokens: who a client is, and until when."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.types import Options

SERVICE_ROLE = "service_role"
ANON = "anon"

_ALGORITHM = "HS256"
_MIN_SECRET_BYTES = 32
_CHECKED_HERE: Options = {
    "verify_exp": False,
    "verify_aud": False,
    "verify_iat": False,
    "verify_sub": False,
    "verify_jti": False,
}
"""The signature alone is left to the library: which claims count, and what is said of them, is the server's matter."""


class RefusedError(Exception):
    """A client is not let in. ``message`` is what a ``system`` event says, ``reason`` what a refused join says."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.reason = f"{code}: {message}"


class TokenExpiredError(RefusedError):
    """The token was good once."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who presented ``token``. ``expires_at`` is in Unix seconds, None for keys that do not expire."""

    token: str
    role: str
    claims: Mapping[str, Any]
    expires_at: int | None


class Keyring:
    """The keys that this server accepts.

    Args:
        jwt_secret: Verifies tokens (HS256). At least 32 bytes.
        service_keys: Opaque ``sb_...`` keys, mapped to their roles. In a plain collection ``sb_publishable_...``
            stands for ``anon`` and every other key for ``service_role``.
    """

    def __init__(self, jwt_secret: str, service_keys: Collection[str] | Mapping[str, str] = ()) -> None:
        if len(jwt_secret.encode()) < _MIN_SECRET_BYTES:
            raise ValueError(f"jwt_secret needs at least {_MIN_SECRET_BYTES} bytes")
        self._jwt_secret = jwt_secret
        self._roles = (
            dict(service_keys)
            if isinstance(service_keys, Mapping)
            else {key: ANON if key.startswith("sb_publishable_") else SERVICE_ROLE for key in service_keys}
        )

    def identify(self, token: str) -> Identity:
        """Return who presents ``token``, an opaque key or a JWT; raise `RefusedError` for what is neither."""
        role = self._roles.get(token)
        if role is not None:
            return Identity(token, role, {"role": role}, None)
        claims = self._verified_claims(token)
        role, expires_at = claims.get("role"), claims.get("exp")
        if not (isinstance(role, str) and role and isinstance(expires_at, int)):
            raise RefusedError("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
        expired_for = int(time.time()) - expires_at
        if expired_for >= 0:
            raise TokenExpiredError("InvalidJWTToken", f"Token has expired {expired_for} seconds ago")
        return Identity(token, role, claims, expires_at)

    def _verified_claims(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(token, self._jwt_secret, algorithms=[_ALGORITHM], options=_CHECKED_HERE)
        except jwt.InvalidSignatureError:
            raise RefusedError("JwtSignatureError", "Failed to validate JWT signature") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise RefusedError("MalformedJWT", "The token provided is not a valid JWT") from None
        return claims


def mint_token(secret: str, role: str, *, sub: str | None = None, expires_in_seconds: int = 3600) -> str:
    """Return a signed JWT as Supabase would issue it; a negative ``expires_in_seconds`` makes an expired one."""
    now = int(time.time())
    claims: dict[str, Any] = {"role": role, "iat": now, "exp": now + expires_in_seconds}
    if sub is not None:
        claims["sub"] = sub
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)
