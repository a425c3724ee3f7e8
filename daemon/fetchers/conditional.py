"""One conditional call: what most fetchers do once they know what to ask for, and how much history there may be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus

from daemon.contracts import Answer, Fetched, FetchError, FetchErrorKind, FetchRequest, OddityKind, Upstream

REFUSED_SECONDS = 86_400.0
"""A plan that refused a ``limit`` is asked for one again after a day."""

Parse = Callable[[bytes, str], Fetched]
"""From the body of an answer and the symbol that was asked for to what was found out."""


async def fetch_one(
    request: FetchRequest, upstream: Upstream, endpoint: str, params: Mapping[str, str], parse: Parse
) -> Mapping[str, Fetched | FetchError]:
    """Fetch what is known by one call, unless it has not changed since the answer with the request's ETag.

    Raises:
        FetchError: Where the call failed, or its answer cannot be used.
        CallRefusedError: Where the call was not made.
    """
    return {request.symbol: _found(request, await upstream.get(endpoint, params, etag=request.etag), parse)}


class History:
    """How much history to ask for: ``limit`` records, or what the plan has by default for a day after it refused that.

    Args:
        limit: Records to ask for.
        monotonic: Seconds that only go forward.
    """

    def __init__(self, limit: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._again_at = float("-inf")

    @property
    def is_cut(self) -> bool:
        """Whether answers hold only what the plan has by default, and say nothing about what they leave out."""
        return self._monotonic() < self._again_at

    async def get(
        self,
        upstream: Upstream,
        endpoint: str,
        params: Mapping[str, str],
        *,
        etag: str | None = None,
        max_bytes: int | None = None,
    ) -> Answer:
        """Make one call, and another without a ``limit`` where the plan refuses the one asked for.

        Raises:
            FetchError: Where the call failed for another reason, or without a limit, too.
            CallRefusedError: Where the call was not made.
        """
        if not self.is_cut:
            try:
                limited = {**params, "limit": str(self._limit)}
                return await upstream.get(endpoint, limited, etag=etag, max_bytes=max_bytes)
            except FetchError as error:
                if error.kind is not FetchErrorKind.PLAN or "limit" not in str(error).lower():
                    raise
                self._again_at = self._monotonic() + REFUSED_SECONDS
        return await upstream.get(endpoint, params, etag=etag, max_bytes=max_bytes)

    async def fetch_one(
        self, request: FetchRequest, upstream: Upstream, endpoint: str, params: Mapping[str, str], parse: Parse
    ) -> Mapping[str, Fetched | FetchError]:
        """Fetch what is known by one call, as the function `fetch_one` does; an answer that is cut replaces nothing."""
        answer = await self.get(upstream, endpoint, params, etag=request.etag)
        found = _found(request, answer, parse)
        return {request.symbol: replace(found, replaces=None) if self.is_cut else found}


def remembered(found: Fetched, etag: str | None) -> Fetched:
    """Return what was found with the ETag of its answer, unless a record of it was quarantined.

    A later version may be able to read that record, and has to get it again.
    """
    quarantined = any(oddity.kind is OddityKind.QUARANTINED_RECORD for oddity in found.oddities)
    return replace(found, etag=None if quarantined else etag)


def _found(request: FetchRequest, answer: Answer, parse: Parse) -> Fetched:
    if answer.status == HTTPStatus.NOT_MODIFIED:
        return Fetched(rows=None, etag=answer.etag or request.etag)
    return remembered(parse(answer.body, request.symbol), answer.etag)
