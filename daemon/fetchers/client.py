"""The one HTTP client to the upstream: bounded in time, bytes and destinations, and counting what it receives.

The key travels in the header ``apikey``, never in a URL. Nothing is retried here, and nothing is redirected.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from daemon.contracts import Answer, ConfigurationError, FetchError, FetchErrorKind
from daemon.fetchers import answers
from daemon.fetchers.addresses import CheckedResolver, check_base_url
from daemon.fetchers.body import ACCEPT_ENCODING
from daemon.fetchers.exchange import Exchange, Meter

ALLOWED_HOSTS = ("financialmodelingprep.com",)
MAX_BYTES = 2 * 1024 * 1024
MAX_LINE_BYTES = 8190

_ENDPOINT = re.compile(r"[a-z0-9-]{1,64}(/[a-z0-9-]{1,64}){0,3}")
_KEY = re.compile(r"[!-~]+")


class HttpUpstream:
    """The upstream over HTTP. Use as an async context manager, or call ``start`` and ``close`` inside the loop.

    Args:
        base_url: What endpoints are below, such as ``https://financialmodelingprep.com/stable``.
        api_key: The key of the upstream.
        version: Of this program, for the ``User-Agent``.
        timeout_seconds: For one call from asking for a connection to the last byte of the body.
        max_bytes: Cap of a body, on the wire and decoded, where a call names none.
        allow_loopback: Whether the upstream may be this machine, also over plain http.
        allowed_hosts: The hosts that may get the key.
        max_connections: How many connections are open at most; a call that waits for one is on its own time.

    Raises:
        ConfigurationError: For a base URL or a key that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        version: str,
        timeout_seconds: float = 10.0,
        max_bytes: int = MAX_BYTES,
        allow_loopback: bool = False,
        allowed_hosts: Collection[str] = ALLOWED_HOSTS,
        max_connections: int = 16,
    ) -> None:
        if not _KEY.fullmatch(api_key):
            raise ConfigurationError("FMP_API_KEY must hold the key of the upstream, without spaces or line breaks")
        self._base_url = check_base_url(base_url, allowed_hosts=allowed_hosts, allow_loopback=allow_loopback)
        self._api_key = api_key
        self._version = version
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<HttpUpstream {self._base_url.host}>"

    async def start(self) -> None:
        """Open the session. No connection is made before the first call."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._max_connections, resolver=CheckedResolver(aiohttp.ThreadedResolver())
            ),
            headers={
                "apikey": self._api_key,
                "User-Agent": f"refreshd/{self._version}",
                "Accept": "application/json",
                "Accept-Encoding": ACCEPT_ENCODING,
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            middlewares=(_send_once,),
        )

    async def close(self) -> None:
        """Close every connection. Calls still on their way fail."""
        if self._session is not None:
            await self._session.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def get(
        self, endpoint: str, params: Mapping[str, str], *, etag: str | None = None, max_bytes: int | None = None
    ) -> Answer:
        """Make one call that nobody meters. See ``attempt``."""
        return await self.attempt(endpoint, params, etag=etag, max_bytes=max_bytes, meter=lambda _received: None)

    async def attempt(
        self,
        endpoint: str,
        params: Mapping[str, str],
        *,
        etag: str | None = None,
        max_bytes: int | None = None,
        meter: Meter,
    ) -> Answer:
        """Make one call: exactly one request, however it ends.

        Args:
            endpoint: Path below the base URL, without a leading slash.
            params: Query parameters; never the key.
            etag: Sent as ``If-None-Match``.
            max_bytes: Cap of the body; the client's where None.
            meter: Called with the bytes of the head and of every piece of the body as they arrive, so that a call that
                fails has been counted too. Their sum is ``received_bytes`` of a good answer.

        Raises:
            FetchError: For every answer that is not a good one, and every failure on the way.
        """
        about = answers.describe(endpoint, params)
        url = self._url(endpoint, params)
        cap = self._max_bytes if max_bytes is None else max_bytes
        try:
            async with asyncio.timeout(self._timeout_seconds):
                usable = answers.usable_etag(etag)
                return await self._call(url, Exchange(about, usable, cap, self._api_key, meter, "symbols" in params))
        except TimeoutError:
            failure = FetchError(FetchErrorKind.TIMEOUT, f"{about}: not answered within {self._timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, aiohttp.ClientResponseError):
                meter(MAX_LINE_BYTES)
            failure = FetchError(FetchErrorKind.TRANSPORT, f"{about}: {self._reason(error)}")
        # Raised out here, since aiohttp's errors hold the headers of the request, and with them the key.
        raise failure

    async def _call(self, url: URL, exchange: Exchange) -> Answer:
        if self._session is None:
            raise RuntimeError("HttpUpstream is used before it is started")
        headers = {} if exchange.etag is None else {"If-None-Match": exchange.etag}
        async with self._session.get(url, headers=headers, allow_redirects=False) as response:
            return await exchange.read(response)

    def _url(self, endpoint: str, params: Mapping[str, str]) -> URL:
        if not _ENDPOINT.fullmatch(endpoint):
            raise FetchError(FetchErrorKind.BAD_REQUEST, "the endpoint is no path of lower-case words")
        return (self._base_url / endpoint).with_query(params)

    def _reason(self, error: aiohttp.ClientError | OSError) -> str:
        """Describe ``error`` without what the upstream said: aiohttp cuts what it quotes, and half a key passes."""
        if isinstance(error, aiohttp.ClientResponseError):
            return "the answer is not HTTP, or its headers are too long"
        if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
            return "the connection was lost, or the body is broken"
        return answers.excerpt(str(error), self._api_key)


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Hide the errors after which aiohttp sends a GET a second time: that call would be in nobody's budget."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise aiohttp.ClientConnectionError(f"connection lost: {reason or 'closed before the answer'}") from None
