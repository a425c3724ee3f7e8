"""The development Realtime server: HTTP handshake, lifecycle, and a look inside for tests and the demo."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple, Self

from aiohttp import web

from devstack.realtime.access import Gate, Policy, default_policy
from devstack.realtime.arrays import ArraySerializer
from devstack.realtime.channels import Readers
from devstack.realtime.faults import Faults, Switches
from devstack.realtime.feed import ChangeFeed
from devstack.realtime.limits import UNLIMITED, Limits, Meter
from devstack.realtime.rooms import Changes, Rooms
from devstack.realtime.sockets import RESTARTING, Socket, Surroundings
from devstack.realtime.tokens import Keyring, RefusedError, TokenExpiredError
from devstack.realtime.wire import ObjectSerializer, Serializer

PATHS = ("/realtime/v1/websocket", "/socket/websocket")
"""With the hosted gateway in front, and without it."""

SERIALIZERS: Mapping[str, Serializer] = {"1.0.0": ObjectSerializer(), "2.0.0": ArraySerializer()}
"""By the ``vsn`` that a client asks for."""

DEFAULT_VSN = "1.0.0"
"""What a client means that names no version."""

_CLOSE_HANDSHAKE_SECONDS = 1.0
_DRAIN_SECONDS = 2.0
_REMEMBERED_HANDSHAKES = 10_000


class Handshake(NamedTuple):
    """Somebody has dialled: when, in monotonic seconds, and with which key."""

    at: float
    key: str


class RealtimeServer:
    """A Supabase Realtime server in this process, for tests and the demo.

    Args:
        jwt_secret: Verifies tokens (HS256). At least 32 bytes.
        service_keys: Opaque ``sb_...`` keys: a mapping to roles, or a plain collection in which
            ``sb_publishable_...`` stands for ``anon`` and every other key for ``service_role``.
        host: Address to listen on.
        port: Port to listen on; 0 chooses a free one at the first start and keeps it for every later one.
        policy: What a client may do in a channel.
        refusal_delay_seconds: How long a refused join waits for its answer; about 5 s on the hosted server.
        max_frame_bytes: A client that sends a larger frame is closed with 1009.
        limits: What clients are refused or closed for; nothing by default.

    Attributes:
        switches: What is wrong until it is set right again.
        faults: What can be done to what is there.
        handshakes: The newest ones, refused ones included.
    """

    def __init__(
        self,
        jwt_secret: str,
        service_keys: Collection[str] | Mapping[str, str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        policy: Policy = default_policy,
        refusal_delay_seconds: float = 0.0,
        max_frame_bytes: int = 8_000_000,
        limits: Limits = UNLIMITED,
    ) -> None:
        self._keyring = Keyring(jwt_secret, service_keys)
        self._host = host
        self._port = port
        self._max_frame_bytes = max_frame_bytes
        self._changes = Changes()
        self._sockets: set[Socket] = set()
        self.handshakes: deque[Handshake] = deque(maxlen=_REMEMBERED_HANDSHAKES)
        self._limits = limits
        self._readers = Readers()
        self.switches = Switches()
        self._rooms = Rooms(self._changes, self.switches, limits)
        self.faults = Faults(self._rooms, self._sockets)
        self._surroundings = Surroundings(
            rooms=self._rooms,
            gate=Gate(self._keyring, policy),
            switches=self.switches,
            limits=limits,
            joins=Meter(limits.joins_per_second, 1.0),
            readers=self._readers,
            refusal_delay_seconds=refusal_delay_seconds,
        )
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Listen. After a `stop` this is the same port again."""
        if self._runner is not None:
            raise RuntimeError("the Realtime server is running already")
        self._stopping.clear()
        app = web.Application()
        for path in PATHS:
            app.router.add_get(path, self._connect)
        app.router.add_route("*", "/{path:.*}", _refuse_path)
        app.on_shutdown.append(self._drain)
        # No access log: its lines would carry the keys that clients have in their URLs.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_HANDSHAKE_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner, self._port = runner, runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and close every socket with 1012. Stopping twice is harmless."""
        if self._runner is not None:
            self._stopping.set()
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """``http://HOST:PORT``; clients add ``/realtime/v1``. Known once the server has been started."""
        return f"http://{self._host}:{self._port}"

    @property
    def connections(self) -> int:
        """How many sockets are open."""
        return len(self._sockets)

    def members(self, topic: str, *, private: bool | None = None) -> int:
        """Return how many channels are in ``topic`` (without ``realtime:``): one world's, or by default both's."""
        return sum(len(room.members) for room in self._rooms.named(topic, private=private))

    def topics(self, beginning: str) -> list[str]:
        """Return the topics that somebody is in and whose names begin so."""
        return sorted({topic for topic in self._rooms.topics() if topic.startswith(beginning)})

    def presences(self, topic: str, *, private: bool | None = None) -> dict[str, list[dict[str, Any]]]:
        """Return the metas by key in ``topic``: one world's, or by default both's."""
        metas: dict[str, list[dict[str, Any]]] = {}
        for room in self._rooms.named(topic, private=private):
            for key, entry in room.presences.state().items():
                metas.setdefault(key, []).extend(entry["metas"])
        return metas

    def inject(self, topic: str, event: str, payload: Any, *, private: bool | None = None) -> int:
        """Send a raw event to every member of ``topic``, whatever it may read; return how many that were."""
        rooms = self._rooms.named(topic, private=private)
        for room in rooms:
            room.deliver(event, payload, room.members)
        return sum(len(room.members) for room in rooms)

    @contextlib.asynccontextmanager
    async def following(self, url: str) -> AsyncIterator[None]:
        """Let channels subscribe to changes of the published tables that their roles may read.

        Args:
            url: PostgreSQL as the owner of the tables.
        """
        async with ChangeFeed(url, self._rooms.take_change) as feed:
            self._readers.may_read = feed.may_read
            yield

    async def until(self, condition: Callable[[], bool], timeout_seconds: float = 10.0) -> None:
        """Wait until ``condition``, which looks at this server, holds; raise `TimeoutError` where it does not."""
        async with asyncio.timeout(timeout_seconds):
            await self._changes.until(condition)

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        key = request.headers.get("x-api-key") or request.query.get("apikey") or ""
        self.handshakes.append(Handshake(time.monotonic(), key))
        self._changes.notify()
        refused = await self._refuse_on_purpose()
        if refused is not None:
            return refused
        try:
            identity = self._keyring.identify(key)
        except RefusedError as refusal:
            status = web.HTTPForbidden if isinstance(refusal, TokenExpiredError) else web.HTTPUnauthorized
            return _refusal(status.status_code, refusal.message)
        serializer = SERIALIZERS.get(request.query.get("vsn", DEFAULT_VSN))
        if serializer is None:
            return _refusal(web.HTTPForbidden.status_code, "unsupported vsn")
        if self._limits.connections is not None and len(self._sockets) >= self._limits.connections:
            return _refusal(web.HTTPTooManyRequests.status_code, "Too many connected users")
        websocket = web.WebSocketResponse(
            timeout=_CLOSE_HANDSHAKE_SECONDS, compress=False, max_msg_size=self._max_frame_bytes
        )
        with contextlib.suppress(ConnectionResetError):  # gone already
            await websocket.prepare(request)
        if websocket.prepared and request.transport is not None:
            socket = Socket(websocket, request.transport, serializer, identity, self._surroundings)
            with self._registered(socket):
                code = self.switches.close_on_accept
                if code is not None:
                    socket.close(code)
                await socket.serve()
        return websocket

    async def _refuse_on_purpose(self) -> web.StreamResponse | None:
        switches = self.switches
        if switches.handshakes_unanswered:
            await self._stopping.wait()
        if switches.redirect_to is not None:
            return web.Response(status=web.HTTPFound.status_code, headers={"Location": switches.redirect_to})
        if switches.http_status is not None:
            return _refusal(switches.http_status, "refused on purpose")
        return None

    @contextlib.contextmanager
    def _registered(self, socket: Socket) -> Iterator[None]:
        self._sockets.add(socket)
        self._changes.notify()
        try:
            yield
        finally:
            self._sockets.discard(socket)
            self._changes.notify()

    async def _drain(self, _app: web.Application) -> None:
        for socket in self._sockets:
            socket.close(RESTARTING, "service restart")
        try:
            await self.until(lambda: not self._sockets, timeout_seconds=_DRAIN_SECONDS)
        except TimeoutError:  # somebody does not even read
            for socket in self._sockets:
                socket.cut_off()
            await self.until(lambda: not self._sockets)


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


async def _refuse_path(_request: web.Request) -> web.Response:
    return _refusal(web.HTTPNotFound.status_code, "not found")
