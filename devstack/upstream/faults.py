"""Faults that the simulated upstream commits when it is told to: which, where, and how many times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec


class FaultKind(StrEnum):
    """What goes wrong."""

    STATUS = "status"
    """``status`` with an HTML page, as a proxy sends it: 500, 502, 503."""
    RATE_LIMIT = "rate_limit"
    """429, with ``retry_after`` as its ``Retry-After``, whatever text that is."""
    BANDWIDTH = "bandwidth"
    """429 that says that the bandwidth is used up."""
    LIMIT_IN_BODY = "limit_in_body"
    """200 with ``{"Error Message": "Limit Reach ..."}``."""
    UNAUTHORISED = "unauthorised"
    """401: the key is wrong."""
    SUSPENDED = "suspended"
    """403: the account is."""
    PLAN = "plan"
    """402, plain text: outside the plan."""
    HTML = "html"
    """200 with a web page."""
    TRUNCATED_JSON = "truncated_json"
    """The first half of the body, under the ETag of the whole."""
    WRONG_SYMBOL = "wrong_symbol"
    """Rows that name ``wrong_symbol``."""
    EMPTY = "empty"
    """``[]``; in a batch, with ``symbol``, only that row is missing."""
    NAN = "nan"
    """The first figure of every row is ``NaN``."""
    HUGE_INTEGER = "huge_integer"
    """The first figure of every row has ``size`` digits."""
    FIELDS = "fields"
    """Rows with ``fields`` set and ``without`` taken away: absurd prices, odd timestamps, a changed schema."""
    DEEP_NESTING = "deep_nesting"
    """``size`` brackets in one another."""
    HUGE_HEADERS = "huge_headers"
    """A header of ``size`` bytes."""
    HUGE_BODY = "huge_body"
    """``size`` bytes of JSON."""
    GZIP_BOMB = "gzip_bomb"
    """A small body that inflates to ``size`` bytes."""
    REDIRECT = "redirect"
    """302 to ``location``."""
    HANG = "hang"
    """Never answers."""
    DRIP = "drip"
    """A byte every ``interval_seconds``."""
    RESET = "reset"
    """The connection is reset instead of an answer."""
    SHORT_BODY = "short_body"
    """The connection ends in the middle of the body."""


DEFAULT_SIZES: Mapping[FaultKind, int] = {
    FaultKind.HUGE_INTEGER: 5_000,
    FaultKind.DEEP_NESTING: 200_000,
    FaultKind.HUGE_HEADERS: 65_536,
    FaultKind.HUGE_BODY: 16 * 2**20,
    FaultKind.GZIP_BOMB: 64 * 2**20,
}


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault to commit.

    Args:
        kind: What goes wrong.
        endpoint: Only there (``batch-quote``); everywhere where None.
        symbol: Only for calls that name it, and of their rows only its own.
        times: How many calls suffer from it; all of them, until it is cleared, where None.
        status: For ``status``.
        retry_after: For ``rate_limit``, ``bandwidth`` and ``status``; no header where None.
        wrong_symbol: For ``wrong_symbol``.
        fields: For ``fields``.
        without: For ``fields``.
        size: For those that have one; ``DEFAULT_SIZES`` where None.
        interval_seconds: For ``drip``.
        location: For ``redirect``.
    """

    kind: FaultKind
    endpoint: str | None = None
    symbol: str | None = None
    times: int | None = None
    status: int = 500
    retry_after: str | None = None
    wrong_symbol: str = "WRONG"
    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    without: tuple[str, ...] = ()
    size: int | None = None
    interval_seconds: float = 0.5
    location: str = "/stable/redirected"

    def hits(self, endpoint: str, params: Mapping[str, str]) -> bool:
        """Return whether a call would suffer from it."""
        asked = {params.get("symbol"), *params.get("symbols", "").split(",")}
        return self.endpoint in {None, endpoint} and (self.symbol is None or self.symbol in asked)

    def hits_row(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row of an answer would."""
        return self.symbol is None or row.get("symbol") == self.symbol

    def sized(self) -> int:
        """Return its size."""
        return DEFAULT_SIZES.get(self.kind, 0) if self.size is None else self.size


class Faults:
    """The faults still to come. The one that was added first comes first; ``committed`` counts those that came."""

    def __init__(self) -> None:
        self.committed: Counter[FaultKind] = Counter()
        self._waiting: list[tuple[Fault, int | None]] = []

    def add(self, *faults: Fault) -> None:
        """Commit these from now on."""
        self._waiting += [(fault, fault.times) for fault in faults if fault.times is None or fault.times > 0]

    def clear(self) -> None:
        """Commit no more."""
        self._waiting.clear()

    def waiting(self) -> Sequence[Fault]:
        """Return the faults still to come, with the times that are left."""
        return [msgspec.structs.replace(fault, times=left) for fault, left in self._waiting]

    def take(self, endpoint: str, params: Mapping[str, str]) -> Fault | None:
        """Return the fault that this call suffers from, and count it."""
        for index, (fault, left) in enumerate(self._waiting):
            if fault.hits(endpoint, params):
                self.committed[fault.kind] += 1
                if left == 1:
                    del self._waiting[index]
                elif left is not None:
                    self._waiting[index] = (fault, left - 1)
                return fault
        return None
