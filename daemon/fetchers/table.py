"""The table of fetchers: by the name that a row of the registry carries, the class that does the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from daemon.contracts import Fetcher
from daemon.fetchers.profile import ProfileFetcher
from daemon.fetchers.quote import QuoteFetcher

FETCHERS: Mapping[str, Callable[[], Fetcher]] = {
    "profile": ProfileFetcher,
    "quote": QuoteFetcher,
}


def build_fetchers() -> dict[str, Fetcher]:
    """Return one fetcher of every kind, by name. They remember things: build them once per process."""
    return {name: build() for name, build in FETCHERS.items()}
