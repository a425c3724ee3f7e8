"""Every fetcher of this version, answered by the simulated upstream: being in the table is joining the suites."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from daemon.contracts import GLOBAL_SYMBOL
from daemon.fetchers.table import FETCHERS
from devstack.upstream.endpoints import ask
from devstack.upstream.market import Market
from devstack.upstream.wire import Reply, encode
from tests.fetchers.conformance import Subject

SYMBOL = "AAPL"
NOON = 1_794_326_400.0
"""A Tuesday in November 2026: the market of the tests stands still at noon."""

GLOBAL = frozenset({"available-exchanges", "exchange-market-status"})
"""Fetchers whose rows are about no symbol."""

FORGIVEN = {"exchange-market-status": frozenset({"holidays-by-exchange"})}
"""By fetcher the endpoints without which it can do."""


def simulated(endpoint: str, params: Mapping[str, str]) -> bytes:
    """Return what the simulated upstream answers."""
    return _simulated(endpoint, tuple(sorted(params.items())))


@cache
def _simulated(endpoint: str, params: tuple[tuple[str, str], ...]) -> bytes:
    rows = ask(_market(), endpoint, dict(params))
    assert not isinstance(rows, Reply), f"the simulated upstream does not know {endpoint} with {dict(params)}"
    return encode(rows)


@cache
def _market() -> Market:
    return Market(lambda: NOON, is_open=False)


SUBJECTS: Mapping[str, Subject] = {
    name: Subject(build, GLOBAL_SYMBOL if name in GLOBAL else SYMBOL, simulated, FORGIVEN.get(name, frozenset()))
    for name, build in FETCHERS.items()
}
