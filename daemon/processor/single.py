"""One refresh by order of an operator: the client, budgets, breaker, fetcher and effect of every other refresh.

It needs no flag and no waiting job. The pair is claimed only when there is something to store, so that a fetch that
fails leaves no trace but what it cost, and its reason with whoever ordered it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from daemon.contracts import (
    Answer,
    Clock,
    Fetched,
    Fetcher,
    FetchError,
    FetchErrorKind,
    FetchRequest,
    Job,
    Pair,
    RefreshdError,
)
from daemon.processor.breaker import Breaker
from daemon.processor.conclusion import Asked, conclude
from daemon.processor.spending import MeteredUpstream
from daemon.refresh.market_hours import TradingHours
from daemon.refresh.policy import DueRules
from daemon.store.budgets import settle
from daemon.store.database import Database
from daemon.store.queue import Completion, apply_effect, claim_pair


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it went. ``status`` is None where no good answer came; then there is no body either."""

    endpoint: str
    params: Mapping[str, str]
    received_bytes: int
    seconds: float
    status: int | None = None
    etag: str | None = None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a fetch brought."""

    asked: Asked
    calls: Sequence[Call]
    result: Fetched | FetchError


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of it: the job, and ``completed``, ``failed`` (the table refused the rows) or ``lost``."""

    completion: Completion
    verdict: str
    refused: str | None


class LookersBreaker(Breaker):
    """The breaker for somebody who looks: it holds them up like everybody, and they do not open it for the others.

    As the probe, they close it, or open it again. A key that is wrong is theirs alone.
    """

    async def failed(self, probe: UUID | None, reason: str, *, at_once: bool = False) -> None:
        """Note that the upstream could not be used."""
        if at_once:
            await self.undecided(probe)
        elif probe is not None:
            await super().failed(probe, reason)


class RecordedUpstream:
    """Implements :class:`daemon.contracts.Upstream` on another one, and remembers every call.

    Args:
        purse: Makes the calls.
        clock: For their duration.
    """

    def __init__(self, purse: MeteredUpstream, clock: Clock) -> None:
        self._purse = purse
        self._clock = clock
        self.calls: list[Call] = []

    async def get(
        self, endpoint: str, params: Mapping[str, str], *, etag: str | None = None, max_bytes: int | None = None
    ) -> Answer:
        """Make one call; see :meth:`daemon.contracts.Upstream.get`."""
        began_at, before = self._clock.monotonic(), self._purse.received_bytes
        answer: Answer | None = None
        try:
            answer = await self._purse.get(endpoint, params, etag=etag, max_bytes=max_bytes)
        except FetchError:
            self._note(endpoint, params, before, began_at)
            raise
        self._note(endpoint, params, before, began_at, answer)
        return answer

    def _note(
        self, endpoint: str, params: Mapping[str, str], before: int, began_at: float, answer: Answer | None = None
    ) -> None:
        received, seconds = self._purse.received_bytes - before, self._clock.monotonic() - began_at
        call = Call(endpoint, dict(params), received, seconds)
        if answer is not None:
            call = Call(endpoint, dict(params), received, seconds, answer.status, answer.etag, answer.body)
        self.calls.append(call)


class SingleRefresh:
    """Fetches one pair, and stores it if told to. What was spent is settled with the effect, or by :meth:`close`.

    Args:
        database: Where it is stored.
        purse: Pays the calls.
        fetcher: Does the work.
        clock: The database's time.
        rules: From an outcome to the next due time.
        hours: The trading hours that the pair follows, if it does.
    """

    def __init__(
        self,
        database: Database,
        purse: MeteredUpstream,
        fetcher: Fetcher,
        clock: Clock,
        rules: DueRules,
        hours: TradingHours | None = None,
    ) -> None:
        self._database = database
        self._purse = purse
        self._fetcher = fetcher
        self._clock = clock
        self._rules = rules
        self._hours = hours

    async def fetch(self, symbol: str) -> Finding:
        """Ask for everything, whether it has changed or not.

        Raises:
            CallRefusedError: Where a budget, the breaker or a pause stands in the way.
            StoreUnavailableError: When PostgreSQL does not answer.
        """
        asked = Asked(self._clock.now(), 0.0, self._rules, lambda _pair: self._hours)
        upstream = RecordedUpstream(self._purse, self._clock)
        result: Fetched | FetchError
        try:
            results = await self._fetcher.fetch([FetchRequest(symbol)], upstream)
            result = results.get(symbol, Fetched(rows=()))
        except FetchError as error:
            result = error
        except RefreshdError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect of one fetcher is its finding, as in the daemon
            reason = f"the fetcher is broken: {type(error).__name__}: {error}"
            result = FetchError(FetchErrorKind.MALFORMED, reason)
        return Finding(asked, upstream.calls, result)

    def foresee(self, finding: Finding, job: Job) -> Completion:
        """Return what storing a good result would amount to for ``job``, and change nothing."""
        assert isinstance(finding.result, Fetched)
        effect = conclude([job], {job.symbol: finding.result}, self._purse.settlements, finding.asked)
        return effect.completions[0]

    async def store(self, finding: Finding, pair: Pair, holder: str) -> Stored | None:
        """Store a good result as the end of a job, in one transaction with the pair's state and what was spent.

        Returns:
            What became of it; None where somebody else is refreshing the pair, or has since it was asked for.

        Raises:
            StoreUnavailableError: When PostgreSQL does not answer.
        """
        assert isinstance(finding.result, Fetched)
        job = await claim_pair(self._database, pair, holder, finding.asked.at)
        if job is None:
            return None
        effect = conclude([job], {job.symbol: finding.result}, self._purse.settlements, finding.asked)
        applied = await apply_effect(self._database, effect)
        return Stored(effect.completions[0], applied.verdicts[job.id], applied.refused_rows.get(job.id))

    async def close(self) -> None:
        """Settle what is not settled yet."""
        await settle(self._database, self._purse.settlements)
