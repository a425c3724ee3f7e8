"""Which pages of other origins may read the answers (CORS, as in the Fetch standard)."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web

from daemon.web.request_errors import RequestError

ANY_ORIGIN = "*"
ALLOWED_HEADERS = "authorization, apikey, content-type, x-client-info"
EXPOSED_HEADERS = "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After"
PREFLIGHT_SECONDS = 7_200


class CrossOrigin:
    """Answers preflights, and marks answers as readable.

    No cookies are involved: a page proves who it is by the token that it sends, so ``*`` lets every page ask that has
    a good token.

    Args:
        origins: Allowed origins, such as ``https://app.example``, or ``*``; none: same-origin pages only.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origin.lower() for origin in origins)

    def preflight(self, origin: str | None, allowed_method: str) -> web.Response:
        """Return the answer to an ``OPTIONS``.

        Raises:
            RequestError: 403 for an origin that is not allowed.
        """
        if origin is None:
            return web.Response(status=204, headers={"Allow": f"{allowed_method}, OPTIONS"})
        if not self._is_allowed(origin):
            raise RequestError(403, "origin_not_allowed", "pages of this origin may not ask")
        headers = {
            "Access-Control-Allow-Methods": allowed_method,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        return web.Response(status=204, headers=headers)

    def mark(self, response: web.Response, origin: str | None) -> None:
        """Let a page of an allowed origin read the response."""
        if ANY_ORIGIN not in self._origins:
            response.headers["Vary"] = "Origin"
        if origin is not None and self._is_allowed(origin):
            response.headers["Access-Control-Allow-Origin"] = ANY_ORIGIN if ANY_ORIGIN in self._origins else origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS

    def _is_allowed(self, origin: str) -> bool:
        return ANY_ORIGIN in self._origins or origin.lower() in self._origins
