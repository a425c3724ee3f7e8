"""``POST /functions/v1/track-subscription-v2`` and ``untrack-subscription-v2``, as ``functions.invoke`` calls them.

Every request passes the same doors in the same order, the cheap ones first: method, limit of the address, token, limit
of the user, body. Nothing is done for anybody before all of them are passed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import structlog
from aiohttp import web

from daemon.contracts import StoreUnavailableError
from daemon.web.client_address import Network, client_address
from daemon.web.cross_origin import CrossOrigin
from daemon.web.jwks import KeysUnavailableError
from daemon.web.jwt_auth import Caller, TokenRefusedError, TokenVerifier
from daemon.web.request_body import BODY_SECONDS, read_json
from daemon.web.request_errors import RequestError, json_response, unavailable
from daemon.web.request_limits import Allowance, RequestLimits
from daemon.web.subscriptions import SubscriptionService, TrackRequest
from daemon.web.subscriptions_openapi import OPENAPI_PATH, TRACK_PATH, UNTRACK_PATH, openapi_document

OUTAGE_RETRY_SECONDS = 5.0

log = structlog.get_logger()
_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class _Visit:
    """One request on its way through the doors."""

    request: web.Request
    address: str
    allowance: Allowance | None = None
    """The tighter of the limits that were counted."""

    def count(self, allowance: Allowance) -> None:
        """Take in what a limit says.

        Raises:
            RequestError: 429 where it is used up.
        """
        if self.allowance is None or not allowance.granted or allowance.remaining < self.allowance.remaining:
            self.allowance = allowance
        if not allowance.granted:
            raise RequestError(429, "too_many_requests", "too many requests: wait as long as Retry-After says")


_Work: TypeAlias = Callable[[_Visit], Awaitable[web.Response]]


class SubscriptionRoutes:
    """The handlers.

    Args:
        service: What is done for a request that has passed all doors.
        verifier: Says who sends a token.
        limits: How many requests are answered.
        origins: Of pages that may ask; see :class:`daemon.web.cross_origin.CrossOrigin`.
        proxies: Whose ``X-Forwarded-For`` is believed.
        body_seconds: How long a body may take to arrive.
        is_open: Whether the daemon works: before it does, nothing is known, and when it drains nothing is begun.
    """

    def __init__(
        self,
        service: SubscriptionService,
        *,
        verifier: TokenVerifier,
        limits: RequestLimits,
        origins: Collection[str] = (),
        proxies: Sequence[Network] = (),
        body_seconds: float = BODY_SECONDS,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        self._service = service
        self._verifier = verifier
        self._limits = limits
        self._cross_origin = CrossOrigin(origins)
        self._proxies = tuple(proxies)
        self._body_seconds = body_seconds
        self._is_open = is_open
        self._document = _encoder.encode(openapi_document())

    async def track(self, request: web.Request) -> web.Response:
        """Answer a page that shows something."""
        return await self._answered(request, "POST", self._track)

    async def untrack(self, request: web.Request) -> web.Response:
        """Acknowledge that a page shows something no more. Presence says so too, and that is what counts."""
        return await self._answered(request, "POST", self._untrack)

    async def openapi(self, request: web.Request) -> web.Response:
        """Return the description of these paths; it is no secret."""
        return await self._answered(request, "GET", self._describe)

    async def _track(self, visit: _Visit) -> web.Response:
        caller, wanted = await self._admitted(visit)
        return json_response(_encoder.encode(await self._service.track(wanted, caller, visit.address)))

    async def _untrack(self, visit: _Visit) -> web.Response:
        await self._admitted(visit)
        return json_response(_encoder.encode({"acknowledged": True}))

    async def _describe(self, _visit: _Visit) -> web.Response:
        return json_response(self._document)

    async def _admitted(self, visit: _Visit) -> tuple[Caller, TrackRequest]:
        """Return who asks for what, once every door is passed."""
        visit.count(await self._limits.count_address(visit.address))
        if not self._is_open():
            raise unavailable("unavailable", "the daemon starts or stops", OUTAGE_RETRY_SECONDS)
        caller = await self._caller(visit.request)
        if caller.user is not None:
            visit.count(await self._limits.count_user(caller.user))
        wanted = await read_json(visit.request, TrackRequest, seconds=self._body_seconds)
        who = f"address:{visit.address}" if caller.user is None else f"user:{caller.user}"
        visit.count(await self._limits.count_pairs(who, len(wanted.wanted())))
        return caller, wanted

    async def _caller(self, request: web.Request) -> Caller:
        try:
            return await self._verifier.verify(_bearer(request))
        except TokenRefusedError as error:
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise RequestError(401, "unauthorised", str(error), headers) from None

    async def _answered(self, request: web.Request, method: str, work: _Work) -> web.Response:
        """Return the answer to any request: the work's, or what went wrong, in its one shape."""
        forwarded = request.headers.getall("X-Forwarded-For", [])
        visit = _Visit(request, client_address(request.remote, forwarded, self._proxies))
        origin = request.headers.get("Origin")
        try:
            response = await self._worked(visit, method, work, origin)
        except RequestError as error:
            response = error.response()
        except StoreUnavailableError:
            response = unavailable("unavailable", "the database cannot be reached", OUTAGE_RETRY_SECONDS).response()
        except KeysUnavailableError as error:
            response = unavailable("keys_unavailable", str(error), error.retry_after_seconds).response()
        except Exception:
            log.exception("web_request_failed", path=request.path)
            response = RequestError(500, "internal_error", "something went wrong here").response()
        if visit.allowance is not None:
            response.headers.update(visit.allowance.headers())
        self._cross_origin.mark(response, origin)
        return response

    async def _worked(self, visit: _Visit, method: str, work: _Work, origin: str | None) -> web.Response:
        if visit.request.method == "OPTIONS":
            return self._cross_origin.preflight(origin, method)
        if visit.request.method != method:
            allow = {"Allow": f"{method}, OPTIONS"}
            raise RequestError(405, "method_not_allowed", f"only {method} is answered here", allow)
        return await work(visit)


def add_subscription_routes(app: web.Application, routes: SubscriptionRoutes) -> None:
    """Have ``app`` answer ``/functions/v1/(un)track-subscription-v2`` and ``/openapi.json``, whatever the method."""
    for path, handler in (
        (TRACK_PATH, routes.track),
        (UNTRACK_PATH, routes.untrack),
        (OPENAPI_PATH, routes.openapi),
    ):
        app.router.add_route("*", path, handler, expect_handler=_expect)


async def _expect(_request: web.Request) -> None:
    """Say nothing to a client that waits for "100 Continue": it sends so small a body anyway (RFC 9110, 10.1.1)."""


def _bearer(request: web.Request) -> str:
    """Return the token of the one ``Authorization`` header.

    Raises:
        RequestError: 401 where there is none, or more than one.
    """
    values = request.headers.getall("Authorization", [])
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        message = "send a token: Authorization: Bearer ..."
        raise RequestError(401, "unauthorised", message, {"WWW-Authenticate": "Bearer"})
    return token.strip()
