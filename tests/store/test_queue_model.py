"""The queue against a small model: any sequence of what can happen keeps one open job per pair, and ends in rest."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from devstack.postgres import EmbeddedPostgres
from tests.databases import database_of
from tests.rows import HOLDER

pytestmark = pytest.mark.direct

PAIRS = [(symbol, data_type) for symbol in ("A", "B", "C") for data_type in ("profile", "quote")]
MAX_RETRIES = 3
READY = """
insert into supported_symbols (symbol) values ('A'), ('B'), ('C');
insert into upstream_limits_v2 values ('fmp', 'test', 1000000, 20000000000);
update feature_flags set enabled = true;
"""
ORPHANS = """
with open as (
    select id, symbol, data_type from api_call_queue_v2_pending
    union all select id, symbol, data_type from api_call_queue_v2_processing
)
select count(*) from open full join refresh_state_v2 s using (symbol, data_type)
where open.id is distinct from s.open_job_id
"""

Pair = tuple[str, str]
pairs = st.sampled_from(PAIRS)
some_pairs = st.lists(pairs, min_size=1, max_size=4)
picks = st.integers(0, 5)
ENDINGS = [
    "changed",
    "unchanged",
    "empty",
    "rejected",
    "due at once",
    "retry",
    "retry later",
    "give up",
    "bury",
    "release",
    "reset",
    "expire",
]


@dataclass
class OpenJob:
    """What the model knows of a job that is pending or claimed."""

    priority: int
    claimed: bool = False
    lease: Any = None
    job_id: Any = None
    retries: int = 0
    waits: bool = False


class QueueMachine(RuleBasedStateMachine):
    """Jobs are queued, claimed and ended in every way, demand moves, leases expire; everything in one transaction.

    Which jobs a claim takes is the server's choice, so no rule may depend on the model: hypothesis would see a
    different choice of rules for the same draws.
    """

    connection: asyncpg.Connection[asyncpg.Record]
    run: Callable[[Coroutine[Any, Any, Any]], Any]
    seen: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[Pair, OpenJob] = {}
        self.viewers: dict[Pair, int] = {}
        self.due: dict[Pair, bool] = dict.fromkeys(PAIRS, True)
        self.ended: Counter[str] = Counter()
        self.lost: list[tuple[Any, Any]] = []
        self.transaction = self.connection.transaction()
        self.run(self.transaction.start())
        self.rows("select setseed(0.5)")  # first views get a tenth of a claim by lot: the same lots in every run

    def teardown(self) -> None:
        """Undo everything, so that the next sequence begins with an empty queue."""
        self.run(self.transaction.rollback())

    def ask(self, sql: str, *arguments: Any) -> Any:
        return self.run(self.connection.fetchval(sql, *arguments))

    def rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        found: list[asyncpg.Record] = self.run(self.connection.fetch(sql, *arguments))
        return found

    def claimed(self) -> list[Pair]:
        return sorted(pair for pair, job in self.jobs.items() if job.claimed)

    def open(self, pair: Pair, priority: int) -> bool:
        """Return whether a job is new; one that is pending only rises."""
        job = self.jobs.get(pair)
        if job is None:
            self.jobs[pair] = OpenJob(priority)
            return True
        if not job.claimed:
            job.priority = max(job.priority, priority)
        return False

    def back_to_pending(self, pair: Pair, *, waits: bool = False) -> None:
        job = self.jobs[pair]
        self.lost.append((job.job_id, job.lease))
        job.claimed, job.lease, job.waits = False, None, waits

    def end(self, pair: Pair, status: str, *, due: bool) -> None:
        job = self.jobs.pop(pair)
        self.lost.append((job.job_id, job.lease))
        self.ended[status] += 1
        self.due[pair] = due

    # --- what happens ---

    @rule(wanted=some_pairs, priority=st.integers(-1, 5))
    def pairs_are_queued(self, wanted: list[Pair], priority: int) -> None:
        created = self.ask(
            "select count(*) filter (where created) from queue_refreshes_v2($1, $2, $3)",
            [symbol for symbol, _ in wanted],
            [data_type for _, data_type in wanted],
            [priority] * len(wanted),
        )
        assert created == sum([self.open(pair, priority) for pair in sorted(set(wanted))])

    @rule(wanted=some_pairs, viewers=st.integers(0, 5))
    def pairs_are_checked(self, wanted: list[Pair], viewers: int) -> None:
        created = self.ask(
            "select check_and_queue_stale_pairs_v2($1, $2, $3)",
            [symbol for symbol, _ in wanted],
            [data_type for _, data_type in wanted],
            [viewers] * len(wanted),
        )
        assert created == sum([self.open(pair, viewers) for pair in sorted(set(wanted)) if self.due[pair]])

    @rule(pair=pairs, viewers=st.integers(0, 3))
    def viewers_come_and_go(self, pair: Pair, viewers: int) -> None:
        self.viewers[pair] = viewers
        self.ask("delete from active_subscriptions_v2 where symbol = $1 and data_type = $2", *pair)
        self.ask(
            "insert into active_subscriptions_v2 select 'user:' || n, $1, $2, 's' from generate_series(1, $3) n",
            *pair,
            viewers,
        )

    @rule(wanted=st.lists(pairs, min_size=1, max_size=4, unique=True))
    def demand_moves(self, wanted: list[Pair]) -> None:
        dropped = self.ask(
            "select update_job_demand_v2($1, $2, $3)",
            [symbol for symbol, _ in wanted],
            [data_type for _, data_type in wanted],
            [60.0] * len(wanted),
        )
        expected = 0
        for pair in wanted:
            job, viewers = self.jobs.get(pair), self.viewers.get(pair, 0)
            if job is None or job.claimed or job.priority < 0:
                continue
            if viewers:
                job.priority = viewers
            else:
                del self.jobs[pair]
                expected += 1
        assert dropped == expected

    @rule()
    def the_sweep_runs(self) -> None:
        created = self.ask("select check_and_queue_stale_data_from_presence_v2()")
        viewed = [pair for pair in PAIRS if self.viewers.get(pair) and self.due[pair]]
        assert created == sum([pair not in self.jobs for pair in viewed])
        for pair in viewed:
            if pair not in self.jobs:
                self.open(pair, self.viewers[pair])

    def claim(self, calls: int) -> None:
        ready = {pair for pair, job in self.jobs.items() if not job.claimed and not job.waits}
        viewed = {pair for pair in ready if self.jobs[pair].priority >= 0}
        rows = self.rows("select * from get_queue_batch_v2($1, $2)", calls, HOLDER)
        taken = [(row["symbol"], row["data_type"]) for row in rows]

        assert len(taken) == len(set(taken))
        assert set(taken) <= (viewed or ready)
        assert bool(taken) == bool(ready)
        for row, pair in zip(rows, taken, strict=True):
            job = self.jobs[pair]
            job.claimed, job.lease, job.job_id = True, row["lease_id"], row["job_id"]
            assert (row["priority"], row["retry_count"]) == (job.priority, job.retries)

    @rule(calls=st.integers(0, 5), endings=st.lists(st.tuples(picks, st.sampled_from(ENDINGS)), min_size=1, max_size=6))
    def jobs_are_claimed_and_end(self, calls: int, endings: list[tuple[int, str]]) -> None:
        if calls:
            self.claim(calls)
        for pick, ending in endings:
            if self.claimed():
                self.bring_to_an_end(self.claimed()[pick % len(self.claimed())], ending)
            if self.lost:
                self.come_late(*self.lost[pick % len(self.lost)])

    def bring_to_an_end(self, pair: Pair, ending: str) -> None:
        self.seen[ending] += 1
        match ending:
            case "changed" | "unchanged" | "empty" | "rejected":
                self.complete(pair, ending, fresh=True)
            case "due at once":
                self.complete(pair, "changed", fresh=False)
            case "retry" | "retry later" | "give up":
                self.fail(pair, retryable=ending != "give up", at_once=ending == "retry")
            case "bury":
                self.bury(pair)
            case _:
                self.bring_back(pair, ending)

    def complete(self, pair: Pair, outcome: str, *, fresh: bool) -> None:
        job = self.jobs[pair]
        assert self.ask(
            "select complete_queue_job_v2($1, $2, $3, now(), now() + $4::text::interval, 1000, null, null)",
            job.job_id,
            job.lease,
            outcome,
            "1 hour" if fresh else "-1 second",
        )
        self.end(pair, "completed", due=not fresh)

    def fail(self, pair: Pair, *, retryable: bool, at_once: bool) -> None:
        job = self.jobs[pair]
        verdict = self.ask(
            "select fail_queue_job_v2($1, $2, 'test', $3, $4::text::interval, null)",
            job.job_id,
            job.lease,
            retryable,
            "0" if at_once else "1 hour",
        )
        if retryable and job.retries < MAX_RETRIES:
            assert verdict == "retry"
            job.retries += 1
            if at_once:  # the jitter is over
                self.ask("update api_call_queue_v2_pending set not_before = now() where id = $1", job.job_id)
            self.back_to_pending(pair, waits=not at_once)
        else:
            assert verdict == "failed"
            self.end(pair, "failed", due=False)

    def bring_back(self, pair: Pair, how: str) -> None:
        job = self.jobs[pair]
        if how == "release":
            assert self.ask("select release_jobs_v2(array[$1::uuid])", job.lease) == 1
        elif how == "reset":
            self.ask("update api_call_queue_v2_processing set resets = 0")
            assert self.ask("select reset_job_immediate_v2($1, $2)", job.job_id, job.lease)
        else:
            self.ask(
                "update api_call_queue_v2_processing set claims = 1, lease_expires_at = now() - interval '1 s'"
                " where lease_id = $1",
                job.lease,
            )
            assert self.ask("select recover_stuck_jobs_v2()") == 1
        self.back_to_pending(pair)

    def bury(self, pair: Pair) -> None:
        self.ask(
            "update api_call_queue_v2_processing set claims = 10, lease_expires_at = now() - interval '1 s'"
            " where lease_id = $1",
            self.jobs[pair].lease,
        )
        assert self.ask("select recover_stuck_jobs_v2()") == 1
        self.end(pair, "failed", due=False)

    def come_late(self, job_id: Any, lease: Any) -> None:
        assert not self.ask(
            "select complete_queue_job_v2($1, $2, 'changed', now(), now(), 1, null, null)", job_id, lease
        )
        assert self.ask("select fail_queue_job_v2($1, $2, 'late', true, null, null)", job_id, lease) == "lost"
        assert not self.ask("select reset_job_immediate_v2($1, $2)", job_id, lease)
        assert self.ask("select release_jobs_v2(array[$1::uuid])", lease) == 0

    # --- what must always hold ---

    @invariant()
    def a_pair_has_at_most_one_open_job_and_its_state_knows_it(self) -> None:
        assert self.ask(ORPHANS) == 0

    @invariant()
    def open_jobs_are_those_of_the_model(self) -> None:
        rows = self.rows(
            "select symbol, data_type, status, priority, retry_count from api_call_queue_v2"
            " where status in ('pending', 'processing')"
        )
        found = {(r["symbol"], r["data_type"]): (r["status"], r["priority"], r["retry_count"]) for r in rows}
        assert found == {
            pair: ("processing" if job.claimed else "pending", job.priority, job.retries)
            for pair, job in self.jobs.items()
        }

    @invariant()
    def ended_jobs_are_kept(self) -> None:
        rows = self.rows(
            "select status, count(*) as jobs from api_call_queue_v2 where finished_at is not null group by status"
        )
        assert {row["status"]: row["jobs"] for row in rows} == self.ended

    @invariant()
    def the_next_sweep_queues_nothing_that_is_not_due(self) -> None:
        symbols, types = [symbol for symbol, _ in PAIRS], [data_type for _, data_type in PAIRS]
        rest = [pair for pair in PAIRS if not self.due[pair]]
        self.ask("savepoint before_the_check")
        created = self.ask("select check_and_queue_stale_pairs_v2($1, $2, $3)", symbols, types, [1] * len(PAIRS))
        queued = self.rows("select symbol, data_type from api_call_queue_v2_pending")
        self.ask("rollback to savepoint before_the_check")
        assert created == sum([self.due[pair] and pair not in self.jobs for pair in PAIRS])
        assert {tuple(row) for row in queued}.isdisjoint({pair for pair in rest if pair not in self.jobs})


@pytest.fixture
def connected(postgres: EmbeddedPostgres) -> Iterator[type[QueueMachine]]:
    """The machine on a database of its own, in an event loop of its own: rules are synchronous."""
    with asyncio.Runner() as runner:
        context = database_of(postgres)
        urls = runner.run(context.__aenter__())
        connection = runner.run(asyncpg.connect(urls.owner_url))
        runner.run(connection.execute(READY))

        class Machine(QueueMachine):
            pass

        Machine.connection, Machine.run, Machine.seen = connection, staticmethod(runner.run), Counter()
        yield Machine
        runner.run(connection.close())
        runner.run(context.__aexit__(None, None, None))


def test_any_sequence_of_what_can_happen_keeps_one_open_job_per_pair_and_queues_nothing_early(
    connected: type[QueueMachine],
) -> None:
    run_state_machine_as_test(
        connected,
        settings=settings(
            max_examples=100,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # shrinking a sequence of statements takes longer than a test may
        ),
    )
    assert connected.seen.keys() == set(ENDINGS)
