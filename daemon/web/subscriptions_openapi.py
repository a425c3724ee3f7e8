"""The OpenAPI 3.1 description of the paths for pages."""

from __future__ import annotations

from typing import Any

from daemon import __version__
from daemon.web.request_body import MAX_BODY_BYTES
from daemon.web.subscriptions import DATA_TYPE_PATTERN, MAX_DATA_TYPES, MAX_PAIRS, SYMBOL_PATTERN

TRACK_PATH = "/functions/v1/track-subscription-v2"
UNTRACK_PATH = "/functions/v1/untrack-subscription-v2"
OPENAPI_PATH = "/openapi.json"

_ERRORS = {
    400: "The body is no JSON, or does not fit",
    401: "There is no token, or it is worth nothing",
    405: "Another method than POST",
    408: "The body did not arrive in time",
    413: f"The body has more than {MAX_BODY_BYTES} bytes",
    415: "The body is not declared as uncompressed application/json",
    429: "Too many requests of this user or address",
    500: "A defect; it is in the log",
    503: "The database or the issuer's keys cannot be reached",
}
_WITH_RETRY_AFTER = {429, 503}
_BEFORE_LIMITS = {405}


def openapi_document() -> dict[str, Any]:
    """Return the whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "refreshd",
            "version": __version__,
            "description": "What pages tell the daemon, and hear from it. Data itself is read from the tables.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"supabase": []}],
        "paths": {
            TRACK_PATH: {
                "post": _operation(
                    "trackSubscription",
                    "Say what a page shows",
                    "Queues what is stale at once. To be repeated every ten minutes while it is shown.",
                    "TrackAnswer",
                )
            },
            UNTRACK_PATH: {
                "post": _operation(
                    "untrackSubscription",
                    "Say what a page shows no more",
                    "Only acknowledges: the page leaves presence, and that is what counts.",
                    "Acknowledgement",
                )
            },
        },
        "components": {
            "securitySchemes": {"supabase": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": _schemas(),
            "headers": _headers(),
        },
    }


def _operation(identifier: str, summary: str, description: str, answer: str) -> dict[str, Any]:
    return {
        "operationId": identifier,
        "summary": summary,
        "description": description,
        "requestBody": {"required": True, "content": _content("Subscription")},
        "responses": {
            "200": {"description": "Done", "headers": _named_headers(is_limited=True), "content": _content(answer)},
            **{str(status): _error(status, text) for status, text in _ERRORS.items()},
        },
    }


def _error(status: int, description: str) -> dict[str, Any]:
    headers = _named_headers(is_limited=status not in _BEFORE_LIMITS, may_retry=status in _WITH_RETRY_AFTER)
    return {"description": description, "headers": headers, "content": _content("Error")}


def _named_headers(*, is_limited: bool, may_retry: bool = False) -> dict[str, Any]:
    names = ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"] * is_limited + ["Retry-After"] * may_retry
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _headers() -> dict[str, Any]:
    texts = {
        "RateLimit-Limit": "Requests in any minute, by the tighter of the limits of user and address",
        "RateLimit-Remaining": "How many of them are left",
        "RateLimit-Reset": "Seconds until the oldest of them is forgotten",
        "Retry-After": "Seconds after which asking again makes sense",
    }
    number = {"type": "integer", "minimum": 0}
    return {name: {"description": text, "required": True, "schema": number} for name, text in texts.items()}


def _schemas() -> dict[str, Any]:
    symbol = {"type": "string", "pattern": f"{SYMBOL_PATTERN}$", "examples": ["AAPL"]}
    data_type = {"type": "string", "pattern": f"{DATA_TYPE_PATTERN}$", "examples": ["quote"]}
    data_types = {"type": "array", "items": data_type, "minItems": 1, "maxItems": MAX_DATA_TYPES}
    topics = {
        "enum": ["symbol", "lobby"],
        "description": "Where the page tracks: in the topic of each symbol, which is then joined, or in a lobby."
        " Without it, a request about one symbol joins its topic, and one with views joins none",
    }
    views = {
        "type": "object",
        "propertyNames": {"pattern": f"{SYMBOL_PATTERN}$"},
        "additionalProperties": data_types,
        "minProperties": 1,
        "maxProperties": MAX_PAIRS,
        "examples": [{"AAPL": ["quote", "profile"], "MSFT": ["quote"]}],
    }
    moment = {"type": "string", "format": "date-time"}
    moment_or_null = {"type": ["string", "null"], "format": "date-time"}
    pair = {
        "symbol": {"type": "string", "description": "GLOBAL for data types without symbols"},
        "data_type": data_type,
    }
    return {
        "Subscription": {
            "type": "object",
            "description": "One symbol, or the views as they are tracked; 100 pairs at most. Others are passed over.",
            "properties": {"symbol": symbol, "dataTypes": data_types, "views": views, "topics": topics},
            "anyOf": [{"required": ["symbol", "dataTypes"]}, {"required": ["views"]}],
        },
        "TrackAnswer": _object(
            {
                "viewer": {"enum": ["user", "connection"], "description": "What the token made the caller"},
                "fresh": _list(_object({**pair, "fresh_until": moment}), "Stored data is good"),
                "queued": _list(_object({**pair, "fresh_until": moment_or_null}), "Stale, and a refresh is on its way"),
                "held": _list(
                    _object({**pair, "fresh_until": moment_or_null}),
                    "Stale and not queued: switched off, failed lately, or the budget is used up",
                ),
                "unknown": _list(
                    _object(
                        {
                            "symbol": symbol,
                            "data_type": data_type,
                            "reason": {"enum": ["unknown_symbol", "unknown_data_type", "not_verified_yet"]},
                        }
                    ),
                    "Not in the allow-list; not_verified_yet is worth asking again in a minute",
                ),
                "ticket": {
                    "type": ["string", "null"],
                    "description": "To be tracked as `ticket`: makes the user verified",
                },
                "ticket_expires_at": moment_or_null,
            }
        ),
        "Acknowledgement": _object({"acknowledged": {"const": True}}),
        "Error": _object({"error": _object({"code": {"type": "string"}, "message": {"type": "string"}})}),
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "array", "items": items, "description": description}
