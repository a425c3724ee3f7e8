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

    Raises:
        FetchError: Where the call failed, or its answer cannot be used.
        CallRefusedError: Where the call was not made.
    """
    answer = await upstream.get(endpoint, params, etag=request.etag)
    if answer.status == HTTPStatus.NOT_MODIFIED:
        return {request.symbol: Fetched(rows=None, etag=answer.etag or request.etag)}
    found = parse(answer.body, request.symbol)
    return {request.symbol: remembered(found, answer.etag)}


def remembered(found: Fetched, etag: str | None) -> Fetched:
    """Return what was found with the ETag of its answer, unless a record of it was quarantined.

    A later version may be able to read that record, and has to get it again.
    """
    quarantined = any(oddity.kind is OddityKind.QUARANTINED_RECORD for oddity in found.oddities)
    return replace(found, etag=None if quarantined else etag)
