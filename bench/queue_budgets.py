"""What the budgets cost on the first day, and after thirty days at full rate."""

from __future__ import annotations

import time
from statistics import median

from bench.queue_own import HOLDER
from bench.queue_rounds import seconds_of
from bench.queue_scale import WARM_UP
from bench.queue_server import UPSTREAM, Place, Server, opened, run_as_owner, stay_alive
from daemon.store.budgets import Settlement, reserve_call, settle
from daemon.store.database import Database

BYTES_PER_CALL = 2_000
RECENT_CALLS = 600
"""Not rolled up yet: two minutes at 300 calls a minute."""

_HISTORY = """
insert into api_data_usage_v2 (upstream, holder, reserved_at, settled_at, calls, bytes, rolled_up)
select $1, $2, moment, moment, 1, $3, true
from (select now() - interval '1 hour' - i * interval '0.2 s' as moment from generate_series(1, $4::int) i) moments
"""
_HOURS = """
insert into api_usage_hours_v2 (upstream, hour, calls, bytes)
select upstream, date_trunc('hour', reserved_at), sum(calls), sum(bytes)
from api_data_usage_v2 where rolled_up group by 1, 2
on conflict (upstream, hour) do update set calls = excluded.calls, bytes = excluded.bytes
"""
_RECENT = """
insert into api_data_usage_v2 (upstream, holder, reserved_at, settled_at, calls, bytes)
select $1, $2, now() - i * interval '0.2 s', now(), 1, $3 from generate_series(1, $4::int) i
"""
_TURNS = """
create procedure live_bench(turns int) language plpgsql as $$
begin
    for turn in 1..turns loop
        insert into api_data_usage_v2 (upstream, holder, reserved_at, settled_at, calls, bytes)
        select 'fmp', 'bench/1', now() - interval '3 min', now(), 1, 2000 from generate_series(1, 25);
        perform roll_up_usage_v2();
        commit;
    end loop;
end $$
"""


async def measure_budgets(server: Server, attempts: int, turns: int, samples: int) -> dict[str, float]:
    """Check, reserve and roll up before and after a history of attempts; return milliseconds and sizes.

    The history is written as the gate leaves it: rolled up, its hours summed, vacuumed as autovacuum does. Then come
    ``turns`` of the gate at full rate, 25 attempts each, rolled up by the function that it calls, and not vacuumed.
    """
    async with opened(server, "budgets") as (place, owner, database):
        figures = await _costs(place, owner, database, samples, "first day")
        await run_as_owner(
            place,
            (_HISTORY, [UPSTREAM, HOLDER, BYTES_PER_CALL, attempts]),
            (_HOURS, []),
            ("vacuum (analyze)", []),
            (_TURNS, []),
            ("set synchronous_commit = off", []),
            ("call live_bench($1)", [turns]),
        )
        await server.checkpoint()
        figures |= await _costs(place, owner, database, samples, f"{attempts:,} attempts later")
        figures["usage table MB"] = await owner.fetchval(
            "select pg_total_relation_size('api_data_usage_v2') / 1e6::float8"
        )
        figures["usage hours"] = await owner.fetchval("select count(*) from api_usage_hours_v2")
    return figures


async def _costs(place: Place, owner: Database, database: Database, samples: int, when: str) -> dict[str, float]:
    await stay_alive(owner)
    await run_as_owner(place, (_RECENT, [UPSTREAM, HOLDER, BYTES_PER_CALL, RECENT_CALLS]))
    taken: dict[str, list[float]] = {"quota check": [], "reservation": [], "roll-up": []}
    for turn in range(WARM_UP + samples):
        check = await seconds_of(database.fetchval("select is_quota_exceeded_v2($1)", UPSTREAM))
        started_at = time.perf_counter()
        reservation = await reserve_call(database, UPSTREAM, BYTES_PER_CALL, HOLDER)
        reserve = time.perf_counter() - started_at
        await settle(database, [Settlement(reservation, 1, BYTES_PER_CALL)])
        roll_up = await seconds_of(database.fetchval("select roll_up_usage_v2()"))
        if turn >= WARM_UP:
            for name, seconds in zip(taken, (check, reserve, roll_up), strict=True):
                taken[name].append(1000 * seconds)
    return {f"{name} p50 ms, {when}": median(values) for name, values in taken.items()}
