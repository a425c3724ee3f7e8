"""Every function of the schema runs as the daemon's role; the catalog says which there are, so a new one is seen."""

from __future__ import annotations

import asyncpg
import pytest

from daemon.store.database import Database
from tests.databases import TestDatabase
from tests.rows import HOLDER, make_ready, queue
from tests.store.test_catalog import OWNER_ONLY
from tests.store.test_queue import PROFILE, QUOTE

pytestmark = pytest.mark.direct

FUNCTIONS = """
select p.proname as name, p.prorettype = 'trigger'::regtype as is_trigger
from pg_proc p
where p.pronamespace = 'public'::regnamespace
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
order by p.proname
"""

JOB = "'00000000-0000-4000-8000-000000000001'::uuid"
LEASE = "'00000000-0000-4000-8000-000000000002'::uuid"

MOVED = "begin_move_v2('profile', 'ada', 'because', null, '[]', 0)"
BACK = f"(select begin_rollback_v2('profile', 'ada', 'because') from {MOVED})"

CALLS = {
    "active_cron_jobs_v2": "select active_cron_jobs_v2('[]') is null",
    "all_old_jobs_v2": """select all_old_jobs_v2('[{"a": 1}]', '[{"a": 1}, {}]') = '[{"a": 1}, {}]'""",
    "begin_move_v2": f"select symbols = 0 from {MOVED}",
    "begin_rollback_v2": f"select begin_rollback_v2('profile', 'ada', 'because') = '[]' from {MOVED}",
    "change_cron_jobs_v2": "select change_cron_jobs_v2('[]', 'pause') = '{}'",
    "end_rollback_v2": f"""
        select end_rollback_v2('profile', 'ada') is not null
        from {BACK} b cross join lateral hand_back_v2('profile', 'ada', b is null)""",
    "finish_move_v2": f"select finish_move_v2('profile', 'ada', 'because', '[]') is not null from {MOVED}",
    "hand_back_rows_v2": "select hand_back_rows_v2('profile') = 0",
    "hand_back_v2": f"""
        select h.stamped_rows = 0 from {BACK} b cross join lateral hand_back_v2('profile', 'ada', b is null) h""",
    "hold_move_v2": "select count(*) = 1 from hold_move_v2('profile', 5, now())",
    "is_moved_for_good_v2": "select not is_moved_for_good_v2('quote')",
    "known_rows_v2": "select bool_and( known_rows_v2(r, true) like 'select %') from data_type_registry_v2 r",
    "lock_move_v2": "select lock_move_v2('quote', '{old}') is null",
    "measure_type_v2": "select table_rows = 0 and symbols = 0 and viewed = 1 from measure_type_v2('quote')",
    "missing_symbols_v2": "select missing_symbols_v2('quote') = '{}'",
    "old_cron_jobs_v2": """select job_id = 3 and was_active from old_cron_jobs_v2('[{"cron_job": 3}, {}]')""",
    "note_move_v2": "select count(*) = 1 from note_move_v2('quote', 'tried', 'ada', 'because')",
    "observe_move_v2": "select flag_is_on and missing_symbols = '{}' from observe_move_v2('quote', 60)",
    "pause_old_jobs_v2": "select pause_old_jobs_v2('quote', 'ada', 'because', '[]') is not null",
    "rename_in_cron_jobs_v2": "select rename_in_cron_jobs_v2('{}', '{}', true) = '{}'",
    "sample_moves_v2": "select sample_moves_v2(30) = 0",
    "take_over_state_v2": "select take_over_state_v2('quote') = 0",
    "withdraw_jobs_v2": "select withdraw_jobs_v2('profile') = 1",
    "acquire_probe_v2": "select acquire_probe_v2('fmp', 15) is null",
    "claim_again_in_v2": "select claim_again_in_v2() between 0 and 60 or claim_again_in_v2() is null",
    "paced_calls_v2": "select paced_calls_v2(300, 100, 70) = 30",
    "pace_bytes_v2": "select pace_bytes_v2() >= 0",
    "adapt_prices_v2": "select adapt_prices_v2() >= 0",
    "announce_limits_v2": "select announce_limits_v2('fmp', 'other', 300, 1000000)",
    "check_and_queue_stale_batch_v2": "select check_and_queue_stale_batch_v2('MSFT', '{quote,profile}', 1) = 2",
    "check_and_queue_stale_data_from_presence_v2": "select check_and_queue_stale_data_from_presence_v2() = 1",
    "check_and_queue_stale_pairs_v2": "select check_and_queue_stale_pairs_v2('{MSFT}', '{quote}', '{1}', '{60}') = 1",
    "claim_pair_v2": "select count(*) = 1 from claim_pair_v2('AAPL', 'profile', 'test/1', now())",
    "close_breaker_v2": "select not close_breaker_v2('fmp', gen_random_uuid())",
    "complete_queue_job_v2": f"""
        select complete_queue_job_v2({JOB}, {LEASE}, 'changed', now(), now() + interval '1 h', 1000, now(), 'etag')""",
    "complete_queue_jobs_v2": f"""
        select count(*) = 1 from complete_queue_jobs_v2(
            array[{JOB}], array[{LEASE}], '{{empty}}', array[now()], array[now()], '{{0}}', '{{null}}', '{{null}}')""",
    "bury_job_v2": f"""
        select bury_job_v2(q, 'no use', null) is not null from api_call_queue_v2_processing q where q.id = {JOB}""",
    "cancel_queue_job_v2": f"select cancel_queue_job_v2({JOB}) = 'cancelled'",
    "check_registry_row_v2": """
        update data_type_registry_v2 set weight = 2 where data_type = 'quote' returning weight = 2""",
    "choose_jobs_v2": "select count(*) = 1 from choose_jobs_v2('fmp', 5, 100, 1000000, 1000000, null, '{}')",
    "continue_scheduled_round_v2": "select continue_scheduled_round_v2('exchange-market-status', 5) = 1",
    "fail_queue_job_v2": f"select fail_queue_job_v2({JOB}, {LEASE}, 'timeout', true, null, null) = 'retry'",
    "follow_registry_row_v2": """
        update data_type_registry_v2 set refresh_schedule = '0 * * * *' where data_type = 'quote' returning true""",
    "get_due_times_v2": "select count(*) = 1 from get_due_times_v2('{AAPL,MSFT}', '{quote,quote}')",
    "get_queue_batch_v2": "select count(*) = 1 from get_queue_batch_v2(5, 'test/1', 30, '{profile}')",
    "has_unique_key_v2": "select has_unique_key_v2('profiles', '{symbol}')",
    "invoke_processor_loop_v2": "select count(*) = 1 from invoke_processor_loop_v2() where breaker = 'closed'",
    "is_data_stale_v2": "select is_data_stale_v2(now() - interval '1 h', 5)",
    "is_profile_stale_v2": "select not is_profile_stale_v2(now(), 5)",
    "is_quota_exceeded_v2": "select not is_quota_exceeded_v2('fmp')",
    "is_valid_identifier": "select is_valid_identifier('profiles')",
    "join_open_jobs_v2": "select not created from join_open_jobs_v2('{AAPL}', '{profile}', '{2}', '{60}')",
    "learn_sizes_v2": f"select count(*) = 1 from learn_sizes_v2(array[{JOB}])",
    "lock_job_pairs_v2": f"select count(*) = 1 from lock_job_pairs_v2(array[{JOB}])",
    "maintain_queue_partitions_v2": "select r ->> 'failed' = '0' from maintain_queue_partitions_v2() r",
    "open_jobs_v2": "select bool_and(created) from open_jobs_v2('{MSFT}', '{quote}', '{1}', '{60}')",
    "pause_upstream_v2": "select pause_upstream_v2('fmp', 60, 'rate limit') > now()",
    "queue_due_symbols_v2": "select queue_due_symbols_v2('quote', '{MSFT}') = 1",
    "queue_refresh_if_not_exists_v2": "select queue_refresh_if_not_exists_v2('MSFT', 'quote', 1, 777) is not null",
    "queue_refreshes_v2": "select bool_and(created) from queue_refreshes_v2('{MSFT}', '{quote}', '{1}', '{60}')",
    "queue_scheduled_refreshes_v2": "select queue_scheduled_refreshes_v2() = 0",
    "recover_stuck_jobs_v2": "select recover_stuck_jobs_v2('test/2') = 1",
    "refresh_analytics_from_presence_v2": """
        select refresh_analytics_from_presence_v2(
            's', '[{"user_id": "user:2", "symbol": "AAPL", "data_type": "quote"}]',
            '[{"user_id": "user:1", "symbol": "MSFT", "data_type": "quote"}]') is not null""",
    "refresh_gain_v2": "select refresh_gain_v2(1, 2, 1) > refresh_gain_v2(1, 1, 1)",
    "registered_type_v2": "select weight = 1 from registered_type_v2('quote')",
    "release_jobs_v2": f"select release_jobs_v2(array[{LEASE}]) = 1",
    "remove_gone_rows_v2": """select remove_gone_rows_v2('quote', '[{"symbol": "AAPL"}]', '{symbol}') = 0""",
    "remove_old_attempts_v2": "select remove_old_attempts_v2(now(), 5) = 0",
    "remove_old_jobs_v2": "select remove_old_jobs_v2('failed', now(), 5) = 0",
    "renew_leases_v2": f"select count(*) = 1 from renew_leases_v2(array[{LEASE}], 30)",
    "requeue_job_v2": f"""
        select count(r) = 0 from api_call_queue_v2_processing q cross join requeue_job_v2(q) r where q.id = {JOB}""",
    "reserve_api_calls_v2": "select cardinality(ids) = 2 from reserve_api_calls_v2('fmp', 2, 1000, 'test/1')",
    "reset_job_immediate_v2": f"select reset_job_immediate_v2({JOB}, {LEASE})",
    "retire_instance_v2": "select count(*) = 1 from retire_instance_v2('nobody')",
    "retry_failed_job_v2": "select retry_failed_job_v2(gen_random_uuid()) = 'unknown'",
    "retry_delay_v2": "select retry_delay_v2(2) <= interval '20 s'",
    "return_probe_v2": "select count(*) = 1 from return_probe_v2('fmp', gen_random_uuid())",
    "roll_up_usage_v2": "select roll_up_usage_v2() = 1",
    "shard_shares_v2": "select count(*) = 0 from shard_shares_v2('test/1', '{viewers:0}')",
    "seed_refresh_state_v2": "select seed_refresh_state_v2('{MSFT}', '{profile}') is not null",
    "settle_api_calls_v2": "select count(*) = 1 from settle_api_calls_v2('{1}', '{1}', '{500}')",
    "store_rows_v2": """select inserted = 1 from store_rows_v2('quote', '[{"symbol": "AAPL", "price": 1}]')""",
    "touch_subscriptions_v2": "select touch_subscriptions_v2('test/1', '{s}', '{s}') = 1",
    "touch_symbol_topics_v2": "select touch_symbol_topics_v2('{symbol:AAPL}') = 0",
    "hold_shards_v2": "select count(*) = 2 from hold_shards_v2('test/1', '{viewers:0,viewers:1}', 30)",
    "admit_symbol_v2": "select admit_symbol_v2('NEWCO', 'NASDAQ')",
    "name_symbol_topics_v2": "select name_symbol_topics_v2('{AAPL,NOBODY}') = 'symbol:AAPL'",
    "release_shards_v2": "select release_shards_v2('test/1') = 0",
    "report_subscriptions_v2": """
        select report_subscriptions_v2(
            'test/1', 's', 's', '[{"user_id": "user:2", "symbol": "AAPL", "data_type": "quote"}]', null)""",
    "trip_breaker_v2": "select trip_breaker_v2('fmp', 'timeouts', null, 30, 300) = 30",
    "update_job_demand_v2": "select update_job_demand_v2('{AAPL}', '{profile}', '{60}') = 1",
    "upstream_usage_v2": "select calls_in_window = 0 and bytes_in_30_days = 1000 from upstream_usage_v2('fmp')",
}
"""One valid call of every function: a query that answers true. Of a trigger's function: a statement that fires it."""


async def set_the_stage(owner: Database) -> None:
    """Have one job pending, one claimed, one old reservation, and one viewer who was last vouched for a minute ago."""
    await make_ready(owner)
    await queue(owner, QUOTE, PROFILE)
    await owner.execute("select from get_queue_batch_v2(1, $1, 30, '{quote}')", HOLDER)
    await owner.execute(f"update api_call_queue_v2_processing set id = {JOB}, lease_id = {LEASE}")
    await owner.execute(f"update refresh_state_v2 set open_job_id = {JOB} where data_type = 'quote'")
    await owner.execute("select from reserve_api_calls_v2('fmp', 1, 1000, $1)", HOLDER)
    await owner.execute("update api_data_usage_v2 set reserved_at = now() - interval '20 minutes'")
    await owner.execute(
        "insert into active_subscriptions_v2 (user_id, symbol, data_type, source, last_seen_at)"
        " values ('user:1', 'MSFT', 'quote', 's', now() - interval '1 minute')"
    )


async def failure_of(connection: asyncpg.Connection[asyncpg.Record], call: str) -> str | None:
    """Run a call, undo it, and return why it is not what it should be."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        answer = await connection.fetchval(call)
    except asyncpg.PostgresError as error:
        return f"{error.sqlstate} {error}"
    finally:
        await transaction.rollback()
    return None if answer is True else f"answered {answer}"


async def test_every_function_has_a_valid_call_here(owner: Database) -> None:
    names = [row["name"] for row in await owner.fetch(FUNCTIONS)]

    missing = [name for name in names if name not in CALLS]
    gone = sorted(CALLS.keys() - names)

    assert not missing, f"write a call for each of {missing} into CALLS"
    assert not gone, f"{gone} are no functions any more"


async def test_every_function_runs_as_the_daemons_role(owner: Database, urls: TestDatabase) -> None:
    await set_the_stage(owner)
    triggers = {row["name"] for row in await owner.fetch(FUNCTIONS) if row["is_trigger"]}
    as_daemon = await asyncpg.connect(urls.daemon_url)
    as_owner = await asyncpg.connect(urls.owner_url)

    failures = {
        name: failure
        for name, call in CALLS.items()
        if (failure := await failure_of(as_owner if name in triggers | OWNER_ONLY else as_daemon, call))
    }

    await as_daemon.close()
    await as_owner.close()
    assert failures == {}


async def test_every_call_calls_the_function_it_stands_for(owner: Database) -> None:
    triggers = {row["name"] for row in await owner.fetch(FUNCTIONS) if row["is_trigger"]}

    assert [name for name, call in CALLS.items() if name not in triggers and f" {name}(" not in call] == []


async def test_a_call_that_fails_and_one_that_answers_otherwise_are_seen(urls: TestDatabase) -> None:
    connection = await asyncpg.connect(urls.daemon_url)

    assert (await failure_of(connection, "select no_such_function_v2()") or "").startswith("42883")
    assert await failure_of(connection, "select is_valid_identifier('')") == "answered False"

    await connection.close()
