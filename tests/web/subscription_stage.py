"""What the tests of the subscription endpoints play on: keys and tokens, a key server, and the routes on a socket."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from aiohttp import ClientResponse, ClientSession, web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from daemon.contracts import GLOBAL_SYMBOL, Pair, StoreUnavailableError
from daemon.web.admission import AdmissionGate
from daemon.web.jwks import Jwks
from daemon.web.jwt_auth import TokenVerifier
from daemon.web.request_limits import RequestLimits
from daemon.web.subscriptions import SubscriptionService, SubscriptionStore, TicketIssue
from daemon.web.subscriptions_openapi import TRACK_PATH
from daemon.web.subscriptions_routes import SubscriptionRoutes, add_subscription_routes
from tests.clocks import StandingClock
from tests.presence.stage import Recorder
from tests.serving import serving

SECRET = "a shared secret of the project, long enough"
ISSUER = "https://project.supabase.co/auth/v1"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
AAPL_QUOTE = {"symbol": "AAPL", "dataTypes": ["quote"]}


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a signed-in user's good token; a change to None leaves a claim out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": "authenticated",
        "role": "authenticated",
        "sub": "user-1",
        "iat": now,
        "exp": now + 60,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def hs256(secret: str = SECRET, **changes: Any) -> str:
    """Return a token signed with the shared secret."""
    return jwt.encode(claims(**changes), secret, algorithm="HS256")


def es256(key: ec.EllipticCurvePrivateKey = EC_KEY, kid: str | None = "ec-1", **changes: Any) -> str:
    """Return a token signed with an elliptic key."""
    return jwt.encode(claims(**changes), key, algorithm="ES256", headers={"kid": kid} if kid else None)


def rs256(key: rsa.RSAPrivateKey = RSA_KEY, kid: str = "rsa-1", **changes: Any) -> str:
    """Return a token signed with an RSA key."""
    return jwt.encode(claims(**changes), key, algorithm="RS256", headers={"kid": kid})


def anonymous_key() -> str:
    """Return what a project's ``anon`` key looks like."""
    return jwt.encode({"iss": "supabase", "ref": "project", "role": "anon", "exp": int(time.time()) + 60}, SECRET)


def jwk_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, kid: str, **more: Any) -> dict[str, Any]:
    """Return the public half of a key as the issuer shows it."""
    if isinstance(key, rsa.RSAPrivateKey):
        text = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())
    else:
        text = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())
    return {**json.loads(text), "kid": kid, "use": "sig", "key_ops": ["verify"], **more}


class KeyServer(Recorder):
    """The issuer's key set on a socket: counts how often it is fetched, and can be made to fail or to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.url = ""
        self.fetches = 0
        self.status = 200
        self.keys: list[Any] = [jwk_of(EC_KEY, "ec-1"), jwk_of(RSA_KEY, "rsa-1")]
        self.body: bytes | None = None

    async def answer(self, _request: web.Request) -> web.Response:
        self.fetches += 1
        self.notify()
        await self.may_answer.wait()
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        return web.Response(body=body, status=self.status, content_type="application/json")


@contextlib.asynccontextmanager
async def key_server() -> AsyncIterator[KeyServer]:
    """Run a key server."""
    server, app = KeyServer(), web.Application()
    app.router.add_get("/jwks.json", server.answer)
    async with serving(app) as url:
        server.url = f"{url}/jwks.json"
        yield server


@dataclass(frozen=True, slots=True)
class State:
    """How a pair stands, as a test wants it."""

    pair: Pair
    fresh_until: datetime | None = None
    is_fresh: bool = False
    is_queued: bool = True


@dataclass
class MemoryStore:
    """Queues everything, and remembers each call; fails where it is told to."""

    calls: list[tuple[list[Pair], list[str]]] = field(default_factory=list)
    is_down: bool = False
    defect: Exception | None = None

    async def queue_stale(self, pairs: Sequence[Pair], symbols: Sequence[str]) -> tuple[int, list[State]]:
        if self.is_down:
            raise StoreUnavailableError("PostgreSQL at db.internal:5432 is unavailable")
        if self.defect is not None:
            raise self.defect
        self.calls.append((list(pairs), list(symbols)))
        return len(pairs), [State(pair) for pair in pairs]


class SmallCatalogue:
    """Two symbols, two data types and a global one; symbols can be added."""

    def __init__(self) -> None:
        self.symbols = {"AAPL", "MSFT"}

    def resolve(self, symbol: str, data_type: str) -> Pair | str:
        if data_type == "exchange-market-status":
            return Pair(GLOBAL_SYMBOL, data_type)
        if data_type not in {"quote", "profile"}:
            return "unknown_data_type"
        return Pair(symbol, data_type) if symbol in self.symbols else "unknown_symbol"


@dataclass
class Stage:
    """The routes on a socket, and what is behind them."""

    url: str
    client: ClientSession
    store: SubscriptionStore
    catalogue: Any
    clock: StandingClock
    queued: list[int]

    async def post(self, body: Any = None, token: str | None = None, path: str = TRACK_PATH, **headers: str) -> Answer:
        """Send a request, AAPL's quote with a good token unless told otherwise; ``token`` "" sends none."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token != "":
            sent["Authorization"] = f"Bearer {hs256() if token is None else token}"
        async with self.client.post(path, json=AAPL_QUOTE if body is None else body, headers=sent) as response:
            return await Answer.of(response)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that was read."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @classmethod
    async def of(cls, response: ClientResponse) -> Answer:
        """Read a response."""
        text = await response.text()
        return cls(response.status, json.loads(text) if text else None, response.headers)

    @property
    def code(self) -> str:
        """The code of an error, whose one shape is checked."""
        assert set(self.body) == {"error"}
        assert set(self.body["error"]) == {"code", "message"}
        return str(self.body["error"]["code"])


@contextlib.asynccontextmanager
async def staged(
    *,
    store: SubscriptionStore | None = None,
    catalogue: Any = None,
    jwks_url: str | None = None,
    publishable_keys: Sequence[str] = (),
    per_user: int = 10_000,
    per_address: int = 10_000,
    pairs: int = 10_000,
    origins: Collection[str] = (),
    proxies: Sequence[str] = (),
    body_seconds: float = 5.0,
    database_seconds: float = 5.0,
    ticket_issue: TicketIssue | None = None,
    gate: AdmissionGate | None = None,
    joins_topics: bool = True,
    is_open: bool = True,
) -> AsyncIterator[Stage]:
    """Serve the routes as the daemon would."""
    clock = StandingClock()
    queued: list[int] = []
    store, catalogue = store or MemoryStore(), catalogue or SmallCatalogue()
    routes = SubscriptionRoutes(
        SubscriptionService(
            store,
            catalogue,
            on_queued=lambda: queued.append(1),
            joins_topics=joins_topics,
            ticket_issue=ticket_issue,
            gate=gate,
            database_seconds=database_seconds,
        ),
        verifier=TokenVerifier(
            secrets=[SECRET],
            jwks=Jwks(jwks_url, clock.monotonic) if jwks_url else None,
            issuer=ISSUER,
            now=time.time,
            publishable_keys=publishable_keys,
        ),
        limits=RequestLimits(
            per_user_per_minute=per_user,
            per_address_per_minute=per_address,
            pairs_per_minute=pairs,
            monotonic=clock.monotonic,
        ),
        origins=origins,
        proxies=[ipaddress.ip_network(proxy) for proxy in proxies],
        body_seconds=body_seconds,
        is_open=lambda: is_open,
    )
    app = web.Application(client_max_size=1_024)
    add_subscription_routes(app, routes)
    app.router.add_route("*", "/{path:.*}", _nothing_here)
    async with serving(app) as url, ClientSession(url) as client:
        yield Stage(url, client, store, catalogue, clock, queued)


async def _nothing_here(_request: web.Request) -> web.Response:
    return web.json_response({"error": "not found"}, status=404)


def tomorrow() -> datetime:
    """Return a time that lies ahead."""
    return datetime.now(UTC) + timedelta(days=1)
