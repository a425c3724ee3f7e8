"""What an untrusted presence meta asks for.

A meta is chosen by a browser, so every value in it is hostile until proven otherwise. Two payloads are understood, and
a meta may carry both: ``{userId, views: {SYMBOL: [dataType, ...]}}`` of a lobby page and
``{symbol, dataTypes, userId, subscribedAt}`` of a symbol topic, each with an optional ``ticket``. Whatever is not
understood is dropped and counted by reason; nothing here raises on any JSON value.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import orjson

from daemon.contracts import Catalogue, Pair
from daemon.tickets import Ticket, TicketProblem, is_subject

MAX_META_BYTES = 2048
MAX_META_KEYS = 10
MAX_DATA_TYPES = 20
MAX_PAIRS = 100
FULL_WEIGHT_PAIRS = 20
MAX_VIEWER_BYTES = 250
"""In UTF-8, ``user:`` and ``conn:`` included; the store takes 300."""

DIGEST_BYTES = 16

USER_PREFIX = "user:"

SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=-]{0,19}")
"""For ``fullmatch`` only: ``$`` would let a trailing newline pass."""

SERVER_KEYS = frozenset({"phx_ref", "phx_ref_prev"})
"""What Realtime adds to a page's own payload: outside its bounds."""

Drops: TypeAlias = Counter[str]
"""How many untrusted things were dropped, by reason. The reasons are a fixed set, so it is bounded."""


class View(NamedTuple):
    """What one meta (one tab) says: this viewer looks at these pairs."""

    viewer: str
    pairs: tuple[Pair, ...]
    """Sorted, none twice."""
    verified: bool = False
    """Whether a ticket says who the viewer is."""


@dataclass(frozen=True, slots=True)
class ViewerRules:
    """Who counts as a viewer, and for how much."""

    verify: Callable[[Any], Ticket | TicketProblem] | None = None
    """Looks at a ticket, whatever a page gave as one; None where no ticket can be verified: they are ignored then."""
    ticket_required: bool = False
    """Whether only a ticket says who a viewer is; else a ``userId`` is believed."""
    unverified_viewers: int | None = None
    """What all unverified viewers of a pair together weigh at most; None for no bound."""
    max_pairs: int = MAX_PAIRS
    """For how many pairs a viewer counts."""
    full_weight_pairs: int = FULL_WEIGHT_PAIRS
    """A viewer of more pairs weighs this number, spread evenly over them."""
    max_meta_bytes: int = MAX_META_BYTES


DEFAULT_RULES = ViewerRules()


def read_meta(
    key: str,
    ref: str,
    meta: Mapping[str, Any],
    catalogue: Catalogue,
    drops: Drops,
    rules: ViewerRules = DEFAULT_RULES,
) -> View | None:
    """Return what a meta asks for, or None where the whole of it is dropped.

    The viewer is ``user:<id>`` by a good ticket or a claim that is believed, else ``conn:<key>:<ref>``: one connection,
    one viewer.

    Args:
        key: The presence key, chosen by the client: never an identity.
        ref: The ``phx_ref`` under which the channel knows the meta.
        meta: The meta as decoded from JSON, the server's own keys included.
        catalogue: Decides which pairs may be asked for at all.
        drops: Grows by what is dropped, by reason.
        rules: Who counts as a viewer, and within which bounds.
    """
    payload = {name: value for name, value in meta.items() if name not in SERVER_KEYS}
    if reason := _refusal(payload, rules.max_meta_bytes):
        drops[reason] += 1
        return None
    pairs = tuple(sorted(_pairs(payload, catalogue, drops)))
    if len(pairs) > rules.max_pairs:
        drops["too_many_pairs"] += len(pairs) - rules.max_pairs
        pairs = pairs[: rules.max_pairs]
    subject = _subject(payload, drops, rules)
    viewer = subject or _claim(payload, drops, rules)
    return View(_storable(f"{USER_PREFIX}{viewer}" if viewer else f"conn:{key}:{ref}"), pairs, subject is not None)


def _refusal(payload: Mapping[str, Any], max_bytes: int) -> str | None:
    """Return why a payload is not worth looking into, or None."""
    if len(payload) > MAX_META_KEYS:
        return "too_many_keys"
    try:
        size = len(orjson.dumps(payload))
    except TypeError:  # lone surrogates, integers beyond 64 bits, nesting deeper than anybody needs
        return "malformed_meta"
    return "oversized_meta" if size > max_bytes else None


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


def _subject(payload: Mapping[str, Any], drops: Drops, rules: ViewerRules) -> str | None:
    """Return who a good ticket says this is, or None."""
    ticket = payload.get("ticket")
    if ticket is None or rules.verify is None:
        return None
    verified = rules.verify(ticket)
    if isinstance(verified, Ticket):
        return verified.subject
    drops[verified] += 1
    return None


def _claim(payload: Mapping[str, Any], drops: Drops, rules: ViewerRules) -> str | None:
    """Return who the page says this is, or None where it does not or is not to be believed."""
    user = payload.get("userId")
    if user is None or rules.ticket_required:
        return None
    if is_subject(user):
        return str(user)
    drops["invalid_user_id"] += 1
    return None


def _storable(viewer: str) -> str:
    """Return ``viewer``; what PostgreSQL or a log cannot carry in full is cut, with a digest of the whole after it.

    At most ``MAX_VIEWER_BYTES`` in UTF-8, printable, and never the same for two that differ.
    """
    if viewer.isprintable() and len(viewer.encode()) <= MAX_VIEWER_BYTES:
        return viewer
    digest = hashlib.blake2b(viewer.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
    printable = "".join(character for character in viewer if character.isprintable())
    beginning = printable.encode()[: MAX_VIEWER_BYTES - len(digest) - 1].decode(errors="ignore")
    return f"{beginning}~{digest}"
