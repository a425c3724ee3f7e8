"""What an answer means: statuses, headers and bodies turned into the kinds of ``FetchError``. Pure.

Everything here comes from outside. Of a body at most 256 characters reach a message, without control characters and
without the key, should the upstream echo it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

from daemon.contracts import FetchError, FetchErrorKind

MAX_EXCERPT = 256
DEFAULT_RETRY_SECONDS = 60.0
MIN_RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 900.0

_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12
"""From here on a number is a moment: 2001 in seconds; in milliseconds, too, and no sensible one in seconds."""

_SECONDS = re.compile(r"[+-]?\d+(\.\d*)?", re.ASCII)
_ETAG = re.compile(r'(W/)?"[!#-~]{1,120}"')
_LENGTH_ETAG = re.compile(r'W/"([0-9a-f]{1,8})-[A-Za-z0-9+/=_-]{27,}"')
"""Hex length of the body and a sha1 of 27 characters or more; nginx writes ``W/"mtime-length"``, which is shorter."""

_OBJECT = re.compile(rb"\s*\{")

_BY_STATUS: Mapping[int, FetchErrorKind] = {
    HTTPStatus.BAD_REQUEST: FetchErrorKind.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED: FetchErrorKind.UNAUTHORISED,
    HTTPStatus.PAYMENT_REQUIRED: FetchErrorKind.PLAN,
    HTTPStatus.NOT_FOUND: FetchErrorKind.BAD_REQUEST,
}

_PLAN_WORDS = (
    "premium",
    "exclusive endpoint",
    "legacy endpoint",
    "restricted endpoint",
    "special endpoint",
    "subscription",
)

_BY_WORDS = (
    (FetchErrorKind.BANDWIDTH_EXHAUSTED, ("bandwidth",)),
    (FetchErrorKind.UNAUTHORISED, ("api key", "apikey", "suspended")),
    (FetchErrorKind.RATE_LIMITED, ("limit reach", "rate limit", "too many")),
    (FetchErrorKind.PLAN, _PLAN_WORDS),
    (FetchErrorKind.RATE_LIMITED, ("limit",)),
)
"""In this order: a rate limit advises to upgrade the plan, and a plan names the limits of its parameters."""


class StatusError(FetchError):
    """A ``FetchError`` that an answer stands behind.

    Args:
        status: The status of the answer.
        kind: What went wrong.
        message: One line.
        retry_after_seconds: What the upstream asked us to wait, clamped.
    """

    def __init__(
        self, status: int, kind: FetchErrorKind, message: str, *, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(kind, message, retry_after_seconds=retry_after_seconds)
        self.status = status


class _ErrorObject(msgspec.Struct):
    message: str | None = msgspec.field(name="Error Message", default=None)


_ERROR_OBJECT = msgspec.json.Decoder(_ErrorObject)


def failure(
    status: int, headers: Mapping[str, str], body: bytes, *, about: str, secret: str, is_batch: bool = False
) -> StatusError:
    """Return the error that an answer other than a good one means.

    Args:
        status: Its status.
        headers: Its headers, under their usual names unless the mapping ignores case.
        body: The beginning of its body.
        about: What was asked for, for the message.
        secret: The key, which is taken out of the message.
        is_batch: Whether several symbols were asked for at once, which a plan may not allow and refuse with a bare 403.
    """
    if status in range(300, 400):
        host = excerpt(_redirect_host(headers.get("Location", "")), secret)
        return StatusError(status, FetchErrorKind.UPSTREAM_ERROR, f"{about}: {status} redirects to {host}: refused")
    text = error_text(body) or body.decode(errors="replace")
    kind = _kind(status, text.lower(), is_batch=is_batch)
    wait = retry_after_seconds(headers.get("Retry-After"), headers.get("Date"))
    if wait is None:
        wait = used_up_seconds(headers)
    if wait is None and kind is FetchErrorKind.RATE_LIMITED:
        wait = DEFAULT_RETRY_SECONDS
    message = f"{about}: {status} {excerpt(text, secret)}".rstrip()
    return StatusError(status, kind, message, retry_after_seconds=wait)


def error_text(body: bytes) -> str | None:
    """Return the text of an error object, which can come with any status, or None where the body is none."""
    if not _OBJECT.match(body):
        return None
    try:
        return _ERROR_OBJECT.decode(body).message
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None


def refuses_batch(error: FetchError) -> bool:
    """Return whether an endpoint for batches is outside the plan: 402, or 403."""
    forbidden = isinstance(error, StatusError) and error.status == HTTPStatus.FORBIDDEN
    return forbidden or error.kind is FetchErrorKind.PLAN


def retry_after_seconds(value: str | None, date: str | None) -> float | None:
    """Return what ``Retry-After`` asks for, between a second and 15 minutes.

    Args:
        value: The header: seconds or an HTTP date; None where there is none.
        date: The ``Date`` of the same answer: a date to wait for is measured from it, never from a clock of ours.

    Returns:
        The seconds to wait, or None where the header is absent or says nothing.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    elif (until := _http_date(text)) and (sent := _http_date(date or "")):
        seconds = (until - sent).total_seconds()
    else:
        return None
    return min(max(seconds, MIN_RETRY_SECONDS), MAX_RETRY_SECONDS)


def used_up_seconds(headers: Mapping[str, str]) -> float | None:
    """Return for how long to make no further call, where ``X-RateLimit-Remaining`` (or without ``X-``) says 0.

    ``X-RateLimit-Reset`` is in seconds to go, or the time of the reset in epoch seconds or milliseconds; such a time is
    measured from the ``Date`` of the same answer. None of these headers has been seen from this upstream yet.

    Returns:
        Seconds between a second and 15 minutes, a minute where no reset is told; None where calls are left, or nothing
        is said.
    """
    remaining, reset = (
        (headers.get(f"X-RateLimit-{name}") or headers.get(f"RateLimit-{name}") or "").strip()
        for name in ("Remaining", "Reset")
    )
    if not (_SECONDS.fullmatch(remaining) and float(remaining) <= 0):
        return None
    seconds = float(reset) if _SECONDS.fullmatch(reset) else DEFAULT_RETRY_SECONDS
    if seconds >= _EPOCH_MILLISECONDS:
        seconds /= 1_000
    if seconds >= _EPOCH_SECONDS:
        sent = _http_date(headers.get("Date") or "")
        seconds = DEFAULT_RETRY_SECONDS if sent is None else seconds - sent.timestamp()
    return min(max(seconds, MIN_RETRY_SECONDS), MAX_RETRY_SECONDS)


def usable_etag(value: str | None) -> str | None:
    """Return an ETag that can be stored and sent back, or None."""
    return value if value is not None and _ETAG.fullmatch(value) else None


def check_length(etag: str | None, body: bytes, about: str) -> None:
    """Compare the length that an ETag of the upstream begins with to that of the decoded body.

    Raises:
        FetchError: TRANSPORT where they disagree: the body was cut on its way.
    """
    match = _LENGTH_ETAG.fullmatch(etag or "")
    if match and int(match[1], 16) != len(body):
        message = f"{about}: the body has {len(body)} bytes of the {int(match[1], 16)} that its ETag promises"
        raise FetchError(FetchErrorKind.TRANSPORT, message)


def describe(endpoint: str, params: Mapping[str, str]) -> str:
    """Return what was asked for, as messages name it: the endpoint and its symbols, no other parameter."""
    named = (f"{name}={params[name][:60]}" for name in ("symbol", "symbols") if name in params)
    return " ".join((endpoint, *named))


def excerpt(text: str, secret: str) -> str:
    """Return the beginning of ``text`` on one line, the key replaced before anything is cut."""
    if secret:
        text = re.sub(re.escape(secret), "[key]", text, flags=re.IGNORECASE)
    line = " ".join(text[: 4 * MAX_EXCERPT].split())[:MAX_EXCERPT]
    return "".join(character if character.isprintable() else "?" for character in line)


def _kind(status: int, text: str, *, is_batch: bool) -> FetchErrorKind:
    named = next((kind for kind, words in _BY_WORDS if any(word in text for word in words)), None)
    match status:
        case HTTPStatus.OK:
            return named or FetchErrorKind.UPSTREAM_ERROR
        case HTTPStatus.FORBIDDEN:  # an endpoint that was retired says so with a 403: no reason to doubt the key
            is_plan = named is FetchErrorKind.PLAN or (is_batch and named is not FetchErrorKind.UNAUTHORISED)
            return FetchErrorKind.PLAN if is_plan else FetchErrorKind.UNAUTHORISED
        case HTTPStatus.TOO_MANY_REQUESTS:
            exhausted = named is FetchErrorKind.BANDWIDTH_EXHAUSTED
            return FetchErrorKind.BANDWIDTH_EXHAUSTED if exhausted else FetchErrorKind.RATE_LIMITED
    return _BY_STATUS.get(status, FetchErrorKind.UPSTREAM_ERROR)


def _redirect_host(location: str) -> str:
    try:
        return urlsplit(location).hostname or "itself"
    except ValueError:
        return "somewhere unreadable"


def _http_date(text: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text[:64])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
