"""What an untrusted presence meta asks for.

A meta is chosen by a browser, so every value in it is hostile until proven otherwise. Two payloads are understood, and
a meta may carry both: ``{userId, views: {SYMBOL: [dataType, ...]}}`` of a lobby page and
``{symbol, dataTypes, userId, subscribedAt}`` of a symbol topic. Whatever is not understood is dropped and counted by
reason; nothing here raises on any JSON value.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import orjson

from daemon.contracts import Catalogue, Pair

MAX_META_BYTES = 2048
MAX_META_KEYS = 10
MAX_DATA_TYPES = 20
MAX_PAIRS = 100
MAX_USER_ID_LENGTH = 128
MAX_VIEWER_BYTES = 250
"""In UTF-8, ``user:`` and ``conn:`` included; the store takes 300."""

DIGEST_BYTES = 16

SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=-]{0,19}")
"""For ``fullmatch`` only: ``$`` would let a trailing newline pass."""

SERVER_KEYS = frozenset({"phx_ref", "phx_ref_prev"})
"""What Realtime adds to a page's own payload: outside its bounds."""

Drops: TypeAlias = Counter[str]
"""How many untrusted things were dropped, by reason. The reasons are a fixed set, so it is bounded."""


class View(NamedTuple):
    """What one meta (one tab) says: this viewer looks at these pairs."""

    viewer: str
    pairs: frozenset[Pair]


def read_meta(key: str, ref: str, meta: Mapping[str, Any], catalogue: Catalogue, drops: Drops) -> View | None:
    """Return what a meta asks for, or None where the whole of it is dropped.

    Args:
        key: The presence key, chosen by the client: never an identity.
        ref: The ``phx_ref`` under which the channel knows the meta.
        meta: The meta as decoded from JSON, the server's own keys included.
        catalogue: Decides which pairs may be asked for at all.
        drops: Grows by what is dropped, by reason.
    """
    payload = {name: value for name, value in meta.items() if name not in SERVER_KEYS}
    if reason := _refusal(payload):
        drops[reason] += 1
        return None
    pairs = _pairs(payload, catalogue, drops)
    if len(pairs) > MAX_PAIRS:
        drops["too_many_pairs"] += len(pairs) - MAX_PAIRS
        pairs = set(sorted(pairs)[:MAX_PAIRS])
    return View(_viewer(key, ref, payload, drops), frozenset(pairs))


def _refusal(payload: Mapping[str, Any]) -> str | None:
    """Return why a payload is not worth looking into, or None."""
    if len(payload) > MAX_META_KEYS:
        return "too_many_keys"
    try:
        size = len(orjson.dumps(payload))
    except TypeError:  # lone surrogates, integers beyond 64 bits, nesting deeper than anybody needs
        return "malformed_meta"
    return "oversized_meta" if size > MAX_META_BYTES else None


def _pairs(payload: Mapping[str, Any], catalogue: Catalogue, drops: Drops) -> set[Pair]:
    pairs = set()
    for symbol, data_type in _requests(payload, drops):
        resolved = catalogue.resolve(symbol, data_type)
        if isinstance(resolved, Pair):
            pairs.add(resolved)
        else:
            drops[resolved] += 1
    return pairs


def _requests(payload: Mapping[str, Any], drops: Drops) -> Iterator[tuple[str, str]]:
    """Yield well-formed (symbol, data type) requests; whether they exist is the catalogue's business."""
    for symbol, data_types in _named(payload, drops):
        if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
            drops["malformed_symbol"] += 1
        elif not isinstance(data_types, list):
            drops["malformed_data_types"] += 1
        else:
            yield from _typed(symbol, data_types, drops)


def _typed(symbol: str, data_types: list[Any], drops: Drops) -> Iterator[tuple[str, str]]:
    if len(data_types) > MAX_DATA_TYPES:
        drops["too_many_data_types"] += len(data_types) - MAX_DATA_TYPES
    for data_type in data_types[:MAX_DATA_TYPES]:
        if isinstance(data_type, str):
            yield symbol, data_type
        else:
            drops["malformed_data_types"] += 1


def _named(payload: Mapping[str, Any], drops: Drops) -> Iterator[tuple[Any, Any]]:
    """Yield every (symbol, data types) that either shape names, unchecked."""
    views = payload.get("views", {})
    if isinstance(views, dict):
        yield from views.items()
    else:
        drops["malformed_views"] += 1
    if "symbol" in payload:
        yield payload["symbol"], payload.get("dataTypes")


def _viewer(key: str, ref: str, payload: Mapping[str, Any], drops: Drops) -> str:
    """Return ``user:<id>`` for a usable claim, else ``conn:<key>:<ref>``: one connection, one viewer.

    At most ``MAX_VIEWER_BYTES`` in UTF-8, printable, and never the same for two that differ.
    """
    user = payload.get("userId")
    if isinstance(user, str) and 0 < len(user) <= MAX_USER_ID_LENGTH and user.isprintable():
        return _storable(f"user:{user}")
    if user is not None:
        drops["invalid_user_id"] += 1
    return _storable(f"conn:{key}:{ref}")


def _storable(viewer: str) -> str:
    """Return ``viewer``; what PostgreSQL or a log cannot carry in full is cut, with a digest of the whole after it."""
    if viewer.isprintable() and len(viewer.encode()) <= MAX_VIEWER_BYTES:
        return viewer
    digest = hashlib.blake2b(viewer.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
    printable = "".join(character for character in viewer if character.isprintable())
    beginning = printable.encode()[: MAX_VIEWER_BYTES - len(digest) - 1].decode(errors="ignore")
    return f"{beginning}~{digest}"
