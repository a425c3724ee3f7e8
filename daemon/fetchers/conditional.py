"""One conditional call: what most fetchers do once they know what to ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus

from daemon.contracts import Fetched, FetchError, FetchRequest, OddityKind, Upstream

Parse = Callable[[bytes, str], Fetched]
"""From the body of an answer and the symbol that was asked for to what was found out."""


async def fetch_one(
    request: FetchRequest, upstream: Upstream, endpoint: str, params: Mapping[str, str], parse: Parse
) -> Mapping[str, Fetched | FetchError]:
    """Fetch what is known by one call, unless it has not changed since the answer with the request's ETag.

    An answer with a quarantined record is not remembered by its ETag: a later version may be able to read it.

    Raises:
        FetchError: Where the call failed, or its answer cannot be used.
        CallRefusedError: Where the call was not made.
    """
    answer = await upstream.get(endpoint, params, etag=request.etag)
    if answer.status == HTTPStatus.NOT_MODIFIED:
        return {request.symbol: Fetched(rows=None, etag=answer.etag or request.etag)}
    found = parse(answer.body, request.symbol)
    quarantined = any(oddity.kind is OddityKind.QUARANTINED_RECORD for oddity in found.oddities)
    return {request.symbol: found if quarantined else replace(found, etag=answer.etag)}
