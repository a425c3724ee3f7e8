"""Arguments that no caller should send: every function works or says what is wrong, and the tables stay sound."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.refresh.policy import gain
from daemon.store.database import Database
from tests.databases import TestDatabase
from tests.store.hostile_values import JOB, LEASE, calls_of
from tests.store.test_catalog import OWN_FUNCTIONS, OWNER_ONLY
from tests.store.test_every_function import CALLS, set_the_stage

pytestmark = pytest.mark.direct

EXAMPLES = 80
ALLOWED = {
    "22023": "invalid_parameter_value: the function says which",
    "55000": "no limit is in force",
    "23502": "a column that must not be NULL, named",
    "23514": "a check constraint of a column, named",
}
TRIPPED = """
insert into upstreams_v2 (upstream, breaker_state, breaker_open_until, probe_id)
values ('tripped', 'open', now(), '00000000-0000-4000-8000-000000000001')
"""
ARGUMENTS = f"""
select o.proargnames[n] as name, format_type(t, null) as type
from ({OWN_FUNCTIONS}) o
cross join unnest(o.proargtypes) with ordinality as u (t, n)
where o.name = $1 and o.prorettype <> 'trigger'::regtype
order by n
"""
OF_A_ROW = {
    "bury_job_v2",
    "check_registry_row_v2",
    "follow_registry_row_v2",
    "has_unique_key_v2",
    "known_rows_v2",
    "requeue_job_v2",
}
"""Functions of a row or a table that their callers have in hand: no argument of theirs comes from outside."""

CORRUPTION = """
with open as (
    select id, symbol, data_type from api_call_queue_v2_pending
    union all select id, symbol, data_type from api_call_queue_v2_processing
),
bounds as (select now() - interval '10 years' as past, now() + interval '11 years' as future)
select 'a pair breaks the rule of one open job' as complaint
from open full join refresh_state_v2 s using (symbol, data_type) where open.id is distinct from s.open_job_id
union all select 'a job is in two partitions' from api_call_queue_v2 group by id having count(*) > 1
union all select 'a gain is not a number of any use: ' || gain from api_call_queue_v2
where gain in ('NaN', 'Infinity', '-Infinity') or gain < 0
union all select 'a priority is below -1: ' || priority from api_call_queue_v2 where priority < -1
union all select 'an estimate is negative: ' || estimated_data_size_bytes
from api_call_queue_v2 where estimated_data_size_bytes < 0
union all select 'received bytes are negative: ' || actual_data_size_bytes
from api_call_queue_v2 where actual_data_size_bytes < 0
union all select 'a job waits absurdly long: ' || not_before
from api_call_queue_v2, bounds where not not_before between past and future
union all select 'a lease is absurdly long: ' || lease_expires_at
from api_call_queue_v2_processing, bounds
where lease_expires_at is null or not lease_expires_at between past and future
union all select 'a due time is absurd: ' || next_due_at
from refresh_state_v2, bounds where not next_due_at between past and future
union all select 'a pair is fresh for an absurd time: ' || fresh_until
from refresh_state_v2, bounds where not fresh_until between past and future
union all select 'an outcome does not say when the pair is due again: ' || last_outcome
from refresh_state_v2 where last_outcome is not null and next_due_at is null
union all select 'a source timestamp is infinite' from refresh_state_v2 where not isfinite(source_timestamp)
union all select 'usage by the hour is negative' from api_usage_hours_v2 where calls < 0 or bytes < 0
union all select 'an upstream is paused or open for an absurd time'
from upstreams_v2, bounds
where not paused_until between past and future or not breaker_open_until between past and future
   or not probe_expires_at between past and future or breaker_open_seconds in ('NaN', 'Infinity')
union all select 'usage cannot be counted' from upstream_usage_v2('fmp') where bytes_in_30_days < 0
union all select 'a learned size is absurd: ' || estimated_data_size_bytes
from data_type_state_v2 where estimated_data_size_bytes > 1e12
"""


@pytest.fixture
async def daemon(owner: Database, urls: TestDatabase) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the daemon's role to a database where something is going on."""
    await set_the_stage(owner)
    await owner.execute("insert into active_subscriptions_v2 values ('user:1', 'AAPL', 'profile', 's')")
    await owner.execute(TRIPPED)
    connection = await asyncpg.connect(urls.daemon_url)
    yield connection
    await connection.close()


@pytest.fixture
async def caller(
    request: pytest.FixtureRequest, daemon: asyncpg.Connection[asyncpg.Record], urls: TestDatabase
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of whoever may call the function: the daemon's role, or the owner."""
    if request.node.callspec.params["function"] not in OWNER_ONLY:
        yield daemon
        return
    connection = await asyncpg.connect(urls.owner_url)
    yield connection
    await connection.close()


async def complaint_about(
    connection: asyncpg.Connection[asyncpg.Record], function: str, types: list[str], arguments: list[str | None]
) -> str | None:
    """Call a function, look at the tables, undo everything, and return what is wrong, if anything."""
    placeholders = ", ".join(f"${number}::text::{name}" for number, name in enumerate(types, 1))
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.fetch(f"select * from {function}({placeholders})", *arguments)
        complaint: str | None = await connection.fetchval(CORRUPTION)
    except asyncpg.PostgresError as error:
        return None if error.sqlstate in ALLOWED else f"{error.sqlstate}: {error}"
    finally:
        await transaction.rollback()
    return complaint


@pytest.mark.parametrize("function", sorted(CALLS.keys() - OF_A_ROW))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.large_base_example],
)
@given(data=st.data())
async def test_a_function_bears_any_arguments(
    caller: asyncpg.Connection[asyncpg.Record], function: str, data: st.DataObject
) -> None:
    signature = [(row["name"], row["type"]) for row in await caller.fetch(ARGUMENTS, function)]

    arguments = data.draw(calls_of(signature))

    assert await complaint_about(caller, function, [kind for _, kind in signature], arguments) is None


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ("acquire_probe_v2('tripped', 'NaN')", "p_lease_seconds"),
        ("announce_limits_v2('nobody', 'test', 1, 1)", "unknown upstream nobody"),
        ("announce_limits_v2('fmp', repeat('x', 301), 1, 1)", "p_instance"),
        ("claim_pair_v2('AAPL', 'profile', 'test/1', now(), 0)", "p_lease_seconds"),
        ("claim_pair_v2('NONE', 'quote', 'test/1', now())", "not active"),
        (f"complete_queue_job_v2('{JOB}', '{LEASE}', 'changed', now(), null, 1, null, null)", "p_next_due_at"),
        (f"complete_queue_job_v2('{JOB}', '{LEASE}', 'changed', now(), 'infinity', 1, null, null)", "p_next_due_at"),
        (f"complete_queue_job_v2('{JOB}', '{LEASE}', 'changed', 'infinity', now(), 1, null, null)", "p_fresh_until"),
        (f"complete_queue_job_v2('{JOB}', '{LEASE}', 'failed', now(), now(), 1, null, null)", "p_outcomes"),
        (f"complete_queue_job_v2('{JOB}', '{LEASE}', null, now(), now(), 1, null, null)", "p_outcomes"),
        (f"complete_queue_job_v2('{JOB}', '{LEASE}', 'changed', now(), now(), -1, null, null)", "p_bytes"),
        (
            f"complete_queue_job_v2('{JOB}', '{LEASE}', 'empty', now(), now(), 1, 'infinity', null)",
            "p_source_timestamp",
        ),
        (f"fail_queue_job_v2('{JOB}', '{LEASE}', 'x', false, null, 'infinity')", "p_next_due_at"),
        ("get_queue_batch_v2(2147483647, 'test/1')", "p_batch_size"),
        ("get_queue_batch_v2(1, 'test/1', 2147483647)", "p_lease_seconds"),
        ("is_data_stale_v2(now(), 0)", "TTL"),
        ("pause_upstream_v2('fmp', 'NaN', 'x')", "p_seconds"),
        ("refresh_analytics_from_presence_v2(repeat('x', 301), '[]', '[]')", "p_source"),
        (f"renew_leases_v2(array['{LEASE}'::uuid], null)", "p_seconds"),
        (f"renew_leases_v2(array['{LEASE}'::uuid], 2147483647)", "p_seconds"),
        ("reserve_api_calls_v2('fmp', 0, 1, 'test/1')", "at least one call"),
        ("remove_gone_rows_v2('dividend-history', '[]', null)", "p_columns"),
        ("remove_gone_rows_v2('dividend-history', '[]', '{}')", "p_columns"),
        ("remove_gone_rows_v2('dividend-history', '[]', '{date}')", "p_columns"),
        ("remove_gone_rows_v2('dividend-history', '[]', '{symbol,frequency}')", "p_columns"),
        ("remove_gone_rows_v2('nothing', '[]', '{symbol}')", "unknown data type"),
        ("""store_rows_v2('quote', '[{"symbol": "AAPL", "price": true}]')""", "p_rows"),
        ("trip_breaker_v2('fmp', 'x', null, 'Infinity', 300)", "p_first_open_seconds"),
    ],
)
async def test_a_wrong_argument_is_refused_by_its_name(
    daemon: asyncpg.Connection[asyncpg.Record], call: str, named: str
) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match=named):
        await daemon.fetch(f"select * from {call}")


@pytest.mark.parametrize(
    ("call", "question", "answer"),
    [
        (
            f"fail_queue_job_v2('{JOB}', '{LEASE}', 'x', true, '178000000 years', null)",
            "select not_before <= now() + interval '25 h' from api_call_queue_v2_pending where data_type = 'quote'",
            True,
        ),
        (
            "pause_upstream_v2('fmp', 'Infinity', 'x')",
            "select paused_until <= now() + interval '32 days' from upstreams_v2 where upstream = 'fmp'",
            True,
        ),
        (
            "reserve_api_calls_v2('fmp', 1, 9223372036854775807, 'test/1')",
            "select count(*) from api_data_usage_v2 where reserved_at > now() - interval '1 minute'",
            0,
        ),
        (
            "settle_api_calls_v2('{1}', '{2147483647}', '{9223372036854775807}')",
            "select bytes_in_30_days from upstream_usage_v2('fmp')",
            1 << 40,
        ),
        (
            "open_jobs_v2('{MSFT}', '{quote}', '{3}', '{NaN}')",
            "select gain from api_call_queue_v2_pending where symbol = 'MSFT'",
            pytest.approx(gain(1, 3, 60)),
        ),
        (
            "update_job_demand_v2('{AAPL}', '{profile}', '{Infinity}')",
            "select gain < 1e9 from api_call_queue_v2_pending",
            True,
        ),
    ],
)
async def test_what_is_out_of_bounds_is_brought_within(
    daemon: asyncpg.Connection[asyncpg.Record], call: str, question: str, answer: object
) -> None:
    await daemon.fetch(f"select * from {call}")

    assert await daemon.fetchval(question) == answer


async def test_what_is_corrupted_is_seen(owner: Database, daemon: asyncpg.Connection[asyncpg.Record]) -> None:
    assert await daemon.fetchval(CORRUPTION) is None

    await owner.execute("update refresh_state_v2 set next_due_at = 'infinity' where data_type = 'quote'")

    assert await daemon.fetchval(CORRUPTION) == "a due time is absurd: infinity"
