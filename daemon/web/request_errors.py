"""The one shape of everything that goes wrong: ``{"error": {"code": ..., "message": ...}}``."""

from __future__ import annotations

import math
from collections.abc import Mapping

import orjson
from aiohttp import web

from daemon.contracts import RefreshdError


class RequestError(RefreshdError):
    """A request cannot be answered.

    Args:
        status: The HTTP status.
        code: What went wrong, for programs.
        message: The same for people; holds nothing of the request.
        headers: What belongs to the status, such as ``Allow``.
        is_last: Whether the connection ends with the answer: the rest of the body is not worth waiting for.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None, *, is_last: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}
        self.is_last = is_last

    def response(self) -> web.Response:
        """Return the answer."""
        body = {"error": {"code": self.code, "message": self.message}}
        answer = json_response(orjson.dumps(body), self.status, self.headers)
        if self.is_last:
            answer.force_close()
        return answer


def unavailable(code: str, message: str, retry_after_seconds: float) -> RequestError:
    """Return a 503 that says when to come back."""
    return RequestError(503, code, message, {"Retry-After": str(max(math.ceil(retry_after_seconds), 1))})


def json_response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return JSON that nobody keeps and no browser takes for anything else."""
    return web.Response(
        body=body,
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(headers or {})},
    )
