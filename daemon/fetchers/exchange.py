"""One answer as it is read from the wire: its bytes counted, its size bounded, its status judged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from daemon.contracts import Answer, FetchError, FetchErrorKind
from daemon.fetchers import answers
from daemon.fetchers.body import Body

MAX_ERROR_BYTES = 16 * 1024
"""How much of the body of an error is read. What a message shows of it is less."""

MAX_HEAD_BYTES = 64 * 1024

Meter = Callable[[int], None]
"""Takes the bytes received since it was called last."""


@dataclass(slots=True)
class Exchange:
    """What was asked for, and what has been received of the answer."""

    about: str
    etag: str | None
    max_bytes: int
    secret: str
    meter: Meter
    is_batch: bool = False
    received_bytes: int = 0

    async def read(self, response: aiohttp.ClientResponse) -> Answer:
        """Read ``response`` to its end, or as far as it takes to refuse it.

        Raises:
            FetchError: For every answer that is not a good one.
            aiohttp.ClientError: Where the connection ends before the answer does.
        """
        self._count(_head_bytes(response))
        if self.received_bytes > MAX_HEAD_BYTES:
            raise FetchError(FetchErrorKind.TOO_LARGE, f"{self.about}: the headers exceed {MAX_HEAD_BYTES} bytes")
        if response.status == HTTPStatus.NOT_MODIFIED and self.etag is not None:
            etag = answers.usable_etag(response.headers.get("ETag")) or self.etag
            return Answer(response.status, b"", etag, self.received_bytes, answers.used_up_seconds(response.headers))
        if response.status != HTTPStatus.OK:
            return await self._read_error(response)
        return await self._read_good(response)

    async def _read_good(self, response: aiohttp.ClientResponse) -> Answer:
        body = self._body(response, self.max_bytes)
        await self._receive(response, body)
        decoded = body.finish()
        etag = answers.usable_etag(response.headers.get("ETag"))
        answers.check_length(etag, decoded, self.about)
        if answers.error_text(decoded) is not None:
            raise self._failure(response, decoded)
        return Answer(response.status, decoded, etag, self.received_bytes, answers.used_up_seconds(response.headers))

    async def _read_error(self, response: aiohttp.ClientResponse) -> Answer:
        """Raise what the status means. However little can be read of the body, the status has been."""
        excerpt = b""
        with suppress(FetchError, aiohttp.ClientError, OSError):
            body = self._body(response, MAX_ERROR_BYTES)
            try:
                await self._receive(response, body)
            finally:
                excerpt = body.so_far
        if response.status == HTTPStatus.NOT_FOUND and excerpt.strip() == b"[]":
            return Answer(HTTPStatus.OK, b"[]", None, self.received_bytes, answers.used_up_seconds(response.headers))
        raise self._failure(response, excerpt)

    async def _receive(self, response: aiohttp.ClientResponse, body: Body) -> None:
        async for chunk in response.content.iter_any():
            self._count(len(chunk))
            body.add(chunk)

    def _body(self, response: aiohttp.ClientResponse, max_bytes: int) -> Body:
        return Body(response.headers.get("Content-Encoding", ""), max_bytes, self.about)

    def _failure(self, response: aiohttp.ClientResponse, body: bytes) -> FetchError:
        return answers.failure(
            response.status, response.headers, body, about=self.about, secret=self.secret, is_batch=self.is_batch
        )

    def _count(self, received: int) -> None:
        self.received_bytes += received
        self.meter(received)


def _head_bytes(response: aiohttp.ClientResponse) -> int:
    """Return the size of the status line and the headers as they came, with their line ends."""
    status_line = len("HTTP/1.1 200 \r\n") + len(response.reason or "")
    return status_line + sum(len(name) + len(value) + 4 for name, value in response.raw_headers) + 2
