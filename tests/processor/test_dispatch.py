"""What a fetch tells beside its rows reaches those who watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from daemon.contracts import Fetched, FetchError, FetchRequest, Oddity, OddityKind, Upstream
from daemon.processor.calls import CallWatch
from daemon.processor.dispatch import Batch, Dispatcher
from daemon.processor.drift import DriftWatch
from daemon.processor.spending import MeteredUpstream, Spender
from daemon.refresh.estimates import Estimates, SessionLength
from daemon.refresh.policy import DueRules
from daemon.store.database import Database
from tests.clocks import StandingClock
from tests.presence.stage import LogRecorder
from tests.processor.test_conclusion import ROWS, job

NOWHERE = Database("postgresql://nobody@127.0.0.1:1/nothing")


class OddFetcher:
    """Finds something odd in every good answer, and makes no call."""

    data_type = "quote"
    batch_size = 10

    async def fetch(self, requests: Sequence[FetchRequest], _upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        oddity = Oddity(OddityKind.UNKNOWN_FIELD, "mood", "glad")
        return {request.symbol: Fetched(ROWS, oddities=[oddity]) for request in requests}


async def test_the_oddities_of_a_good_fetch_are_noted_under_its_data_type(log: LogRecorder) -> None:
    clock, drift, fetcher = StandingClock(), DriftWatch(), OddFetcher()
    dispatcher = Dispatcher(
        NOWHERE,
        {},
        {"quote": fetcher},
        clock,
        DueRules(),
        Estimates(SessionLength(clock)),
        drift,
        CallWatch(),
        on_finished=lambda _finished: None,
        on_refused=lambda _seconds: None,
    )

    batch = Batch([job(symbol="AAPL"), job(symbol="MSFT")], clock.monotonic())
    effect = await dispatcher._fetch(batch, fetcher, MeteredUpstream(cast("Spender", None), 0))

    assert len(effect.completions) == 2
    assert drift.counts == {("quote", OddityKind.UNKNOWN_FIELD): 2}
    assert len(log.of("upstream_drifted")) == 1
