"""One call from beginning to end: fetch, conclude, carry out the effect, say what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from daemon.contracts import (
    CallRefusedError,
    Clock,
    Fetched,
    Fetcher,
    FetchError,
    FetchErrorKind,
    FetchRequest,
    FinishedSink,
    Job,
    JobFinished,
    Outcome,
    Pair,
    StoreUnavailableError,
)
from daemon.crash_points import reached
from daemon.outage import Outage
from daemon.processor.calls import CallWatch
from daemon.processor.conclusion import Asked, conclude, conclude_failure, no_hours
from daemon.processor.drift import DriftWatch
from daemon.processor.spending import MeteredUpstream, Spender
from daemon.refresh.estimates import Estimates
from daemon.refresh.market_hours import TradingHours
from daemon.refresh.policy import DueRules
from daemon.store.budgets import settle
from daemon.store.database import Database
from daemon.store.queue import Applied, Effect, apply_effect, find_completed, release_jobs

APPLY_AGAIN_SECONDS = 0.5
GIVE_UP_SECONDS = 120.0
"""How long an effect waits for the database. By then its leases are long gone, and its jobs run again elsewhere."""

FETCH_SECONDS = 90.0
"""Over all calls of one fetch and what is between them: three calls have ten seconds each."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs of one data type that one fetch serves, with when they were claimed (monotonic seconds)."""

    jobs: Sequence[Job]
    claimed_at: float

    @property
    def data_type(self) -> str:
        """The data type of all of them."""
        return self.jobs[0].pair.data_type

    @property
    def fetcher(self) -> str:
        """The fetcher of all of them."""
        return self.jobs[0].fetcher


class Dispatcher:
    """Runs batches.

    Args:
        database: Where effects go.
        spenders: By upstream, how it is paid.
        fetchers: By the name that the registry calls them.
        clock: The database's time.
        rules: From an outcome to the next due time.
        estimates: How long refreshes take is measured here.
        drift: Takes what was odd about good answers.
        watch: Counts fetches that failed.
        on_finished: Told of every end of which a due time follows.
        on_refused: Told for how many seconds claiming makes no sense.
        hours_of: Gives the trading hours that the data of a pair follows.
    """

    def __init__(
        self,
        database: Database,
        spenders: Mapping[str, Spender],
        fetchers: Mapping[str, Fetcher],
        clock: Clock,
        rules: DueRules,
        estimates: Estimates,
        drift: DriftWatch,
        watch: CallWatch,
        *,
        on_finished: FinishedSink,
        on_refused: Callable[[float], None],
        hours_of: Callable[[Pair], TradingHours | None] = no_hours,
    ) -> None:
        self._database = database
        self._spenders = spenders
        self._fetchers = fetchers
        self._clock = clock
        self._rules = rules
        self._hours_of = hours_of
        self._on_finished = on_finished
        self._on_refused = on_refused
        self._estimates = estimates
        self._drift = drift
        self._watch = watch
        self._outage = Outage("effect")

    @property
    def fetchers(self) -> Collection[str]:
        """The names of the fetchers, of which alone jobs can be run here."""
        return self._fetchers.keys()

    def use(self, rules: DueRules) -> None:
        """Decide by these rules when pairs are due, from the next call on."""
        self._rules = rules

    def batches(self, jobs: Sequence[Job], claimed_at: float) -> list[Batch]:
        """Group claimed jobs into what one fetch can serve, in the order of the claim."""
        by_type: dict[str, list[Job]] = {}
        for job in jobs:
            by_type.setdefault(job.pair.data_type, []).append(job)
        batches = []
        for members in by_type.values():
            size = self._fetchers[members[0].fetcher].batch_size
            batches += [Batch(members[at : at + size], claimed_at) for at in range(0, len(members), size)]
        return batches

    async def run(self, batch: Batch) -> None:
        """Fetch one batch and carry out its effect; when cancelled, give its leases back."""
        spender, fetcher = self._spenders[batch.jobs[0].upstream], self._fetchers[batch.fetcher]
        purse = spender.purse(sum(job.estimated_bytes for job in batch.jobs), batch.data_type)
        try:
            effect = await self._fetch(batch, fetcher, purse)
        except (CallRefusedError, StoreUnavailableError) as error:
            await self._refused(batch, purse, error)
        except asyncio.CancelledError:
            await asyncio.shield(self._release(batch.jobs))
            raise
        else:
            await self._carry_out(batch, effect)

    async def _fetch(self, batch: Batch, fetcher: Fetcher, purse: MeteredUpstream) -> Effect:
        lead = self._estimates.lead(batch.data_type)
        asked = Asked(self._clock.now(), lead.seconds, self._rules, self._hours_of)
        requests = [FetchRequest(job.symbol, job.etag) for job in batch.jobs]
        try:
            results = await self._fetched(fetcher, requests, purse)
        except FetchError as error:
            log.warning("fetch_failed", fetcher=batch.fetcher, jobs=len(batch.jobs), kind=error.kind, error=str(error))
            self._watch.note_failure(batch.data_type, error.kind, len(batch.jobs))
            return conclude_failure(batch.jobs, error, purse.settlements, asked)
        except (CallRefusedError, StoreUnavailableError):
            raise
        except Exception as error:  # a defect of one fetcher fails its jobs, not the daemon
            log.exception("fetcher_broken", fetcher=batch.fetcher, jobs=[str(job.id) for job in batch.jobs])
            failure = FetchError(
                FetchErrorKind.MALFORMED, f"the fetcher is broken: {type(error).__name__}, see the log"
            )
            self._watch.note_failure(batch.data_type, failure.kind, len(batch.jobs))
            return conclude_failure(batch.jobs, failure, purse.settlements, asked)
        self._note(batch.data_type, results)
        return conclude(batch.jobs, results, purse.settlements, asked)

    async def _fetched(
        self, fetcher: Fetcher, requests: Sequence[FetchRequest], purse: MeteredUpstream
    ) -> Mapping[str, Fetched | FetchError]:
        """Fetch within a deadline: whatever else a plug-in awaits must not hold a slot for ever."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                return await fetcher.fetch(requests, purse)
        except TimeoutError:
            message = f"{fetcher.data_type}: the fetcher has not ended within {FETCH_SECONDS:g} s"
            raise FetchError(FetchErrorKind.TIMEOUT, message) from None

    def _note(self, data_type: str, results: Mapping[str, Fetched | FetchError]) -> None:
        self._drift.note_results(data_type, results.values())
        for result in results.values():
            if isinstance(result, FetchError):
                self._watch.note_failure(data_type, result.kind)

    async def _refused(self, batch: Batch, purse: MeteredUpstream, error: Exception) -> None:
        seconds = error.retry_after_seconds if isinstance(error, CallRefusedError) else APPLY_AGAIN_SECONDS
        log.debug("call_refused", fetcher=batch.fetcher, jobs=len(batch.jobs), reason=str(error))
        await self._release(batch.jobs)
        try:
            await settle(self._database, purse.settlements)
        except StoreUnavailableError as unavailable:
            self._outage.failed(unavailable)
        self._on_refused(seconds)

    async def _release(self, jobs: Sequence[Job]) -> None:
        try:
            await release_jobs(self._database, jobs)
        except StoreUnavailableError as error:
            self._outage.failed(error)

    async def _carry_out(self, batch: Batch, effect: Effect) -> None:
        applied = await self._apply(batch, effect)
        if applied is None:
            log.error("effect_lost", jobs=[str(job.id) for job in batch.jobs], seconds=GIVE_UP_SECONDS)
            return
        seconds = self._clock.monotonic() - batch.claimed_at
        self._estimates.lead(batch.data_type).measure(seconds)
        self._report(effect, applied, seconds)

    async def _apply(self, batch: Batch, effect: Effect) -> Applied | None:
        """Apply until the database answers. After an unknown commit the leases tell: they end once."""
        reached("concluded")
        give_up_at = self._clock.monotonic() + GIVE_UP_SECONDS
        unknown = False
        while self._clock.monotonic() < give_up_at:
            try:
                done = await find_completed(self._database, batch.jobs) if unknown else set()
                applied = await apply_effect(self._database, effect)
                reached("committed")
            except StoreUnavailableError as error:
                self._outage.failed(error)
                unknown = True
                await asyncio.sleep(APPLY_AGAIN_SECONDS)
            else:
                self._outage.passed()
                verdicts = {job: "completed" if job in done else verdict for job, verdict in applied.verdicts.items()}
                return Applied(verdicts, applied.refused_rows)
        return None

    def _report(self, effect: Effect, applied: Applied, seconds: float) -> None:
        jobs = len(effect.completions) + len(effect.failures) + len(effect.resets)
        share = sum(settlement.received_bytes for settlement in effect.settlements) // max(jobs, 1)
        for completion in effect.completions:
            job, verdict = completion.job, applied.verdicts[completion.job.id]
            outcome = completion.outcome if verdict == "completed" else Outcome.FAILED
            _log_job(job, verdict, outcome, seconds, completion.received_bytes, applied.refused_rows.get(job.id))
            self._watch.jobs.note(job.pair.data_type, verdict, outcome, seconds)
            if verdict in {"completed", "failed"}:
                due_at = completion.next_due_at if verdict == "completed" else completion.due_if_refused
                self._on_finished(JobFinished(job.pair, outcome, due_at, job.lane))
        for failure in effect.failures:
            verdict = applied.verdicts[failure.job.id]
            _log_job(failure.job, verdict, Outcome.FAILED, seconds, share, failure.message)
            self._watch.jobs.note(failure.job.pair.data_type, verdict, Outcome.FAILED, seconds)
            if verdict == "failed":
                job = failure.job
                self._on_finished(JobFinished(job.pair, Outcome.FAILED, failure.next_due_at, job.lane))
        for job in effect.resets:
            self._watch.jobs.note(job.pair.data_type, "reset", "", seconds)
            log.info(
                "job_reset",
                job=str(job.id),
                symbol=job.pair.symbol,
                data_type=job.pair.data_type,
                verdict=applied.verdicts[job.id],
                milliseconds=round(seconds * 1000, 1),
                bytes=share,
            )


def _log_job(job: Job, verdict: str, outcome: Outcome, seconds: float, received_bytes: int, error: str | None) -> None:
    fields: dict[str, object] = {
        "job": str(job.id),
        "symbol": job.pair.symbol,
        "data_type": job.pair.data_type,
        "verdict": verdict,
        "outcome": outcome,
        "lane": job.lane.name.lower(),
        "viewers": job.priority,
        "milliseconds": round(seconds * 1000, 1),
        "bytes": received_bytes,
    }
    if error is None:
        log.info("job_finished", **fields)
    else:
        level = log.warning if verdict == "failed" else log.info
        level("job_failed", error=error, retries=job.retry_count, **fields)
