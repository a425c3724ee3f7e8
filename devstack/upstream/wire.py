"""What goes over the wire: numbers as JavaScript writes them, JSON as Express indents it, and the upstream's errors."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

Row = dict[str, Any]

JSON_TYPE = "application/json; charset=utf-8"
TEXT_TYPE = "text/plain; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"

SAFE_INTEGER = 2**53


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: status, body, and the headers it brings besides those that every answer has."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


def number(value: float, digits: int | None = None) -> float:
    """Round to ``digits`` decimals, and leave no ``.0`` behind: JavaScript knows no difference between 3 and 3.0."""
    rounded = value if digits is None else round(value, digits)
    return int(rounded) if abs(rounded) < SAFE_INTEGER and float(rounded).is_integer() else rounded


def encode(payload: object) -> bytes:
    """Return JSON, indented by two."""
    return orjson.dumps(payload, option=orjson.OPT_INDENT_2)


def etag(body: bytes) -> str:
    """Return the weak entity tag that Express gives to a body: its length in hex and 27 characters of its SHA-1."""
    digest = base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest())[:27].decode()
    return f'W/"{len(body):x}-{digest}"'


def is_fresh(if_none_match: str, tag: str) -> bool:
    """Return whether a client that sends ``if_none_match`` already has what ``tag`` names."""
    known = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return "*" in known or tag.removeprefix("W/") in known


def rows_reply(rows: list[Row]) -> Reply:
    """Return the answer to a good question."""
    return Reply(200, encode(rows))


def error_reply(status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Return an error object."""
    return Reply(status, encode({"Error Message": message}), headers=headers or {})


def bad_request(text: str) -> Reply:
    """Return a 400: plain text, whatever its content type says."""
    return Reply(400, text.encode())


def missing_parameter(name: str) -> Reply:
    """Return the 400 for a parameter that is absent or empty."""
    return bad_request(f"Query Error: Invalid or missing query parameter - {name}")


def invalid_key() -> Reply:
    """Return the 401 for an unknown key."""
    return error_reply(401, "Invalid API KEY. The simulated upstream was started with another one.")


LIMIT_REACHED = "Limit Reach . Please wait a little: the simulated upstream counts over a sliding minute."
BANDWIDTH_REACHED = "Bandwidth Limit Reach . The simulated upstream has no bytes left for this key."
SUSPENDED = "Account suspended. The simulated upstream was told to say so."
RESTRICTED = "Restricted Endpoint: This endpoint is not available under your current subscription, says the simulation."


def limit_reached(retry_after: str | None) -> Reply:
    """Return the 429 for too many calls, with a ``Retry-After`` where there is one."""
    return error_reply(429, LIMIT_REACHED, {} if retry_after is None else {"Retry-After": retry_after})
