"""Bodies of requests: small, in time, and JSON."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from aiohttp import web

from daemon.web.request_errors import RequestError

MAX_BODY_BYTES = 4_096
BODY_SECONDS = 5.0

T = TypeVar("T")


async def read_json(request: web.Request, model: type[T], *, seconds: float) -> T:
    """Return the body as ``model``.

    Args:
        request: Whose body has not been read yet.
        model: A msgspec struct.
        seconds: How long the body may take to arrive.

    Raises:
        RequestError: 415 for another content type or an encoding, 413 above 4 KiB, 408 for a body that does not arrive
            in time, 400 for what is no JSON or does not fit the model.
    """
    if request.content_type != "application/json":
        raise RequestError(415, "unsupported_media_type", "the Content-Type must be application/json")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RequestError(415, "unsupported_encoding", "the body must not be compressed", is_last=True)
    body = await _read(request, seconds)
    try:
        return msgspec.json.decode(body, type=model)
    except msgspec.ValidationError as error:
        raise RequestError(400, "invalid_request", f"the body cannot be used: {error}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise RequestError(400, "invalid_json", "the body is no JSON") from None


async def _read(request: web.Request, seconds: float) -> bytes:
    too_large = RequestError(413, "body_too_large", f"the body has more than {MAX_BODY_BYTES} bytes", is_last=True)
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
    except TimeoutError:
        raise RequestError(
            408, "body_too_slow", f"the body did not arrive within {seconds:g} s", is_last=True
        ) from None
    except (web.RequestPayloadError, ConnectionError):
        raise RequestError(400, "body_broken", "the body ended early", is_last=True) from None
    return bytes(body)
