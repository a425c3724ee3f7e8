create or replace function invoke_processor_loop_v2()
returns table (upstream text, breaker text, paused_until timestamptz, recovered integer)
language plpgsql
volatile
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    v_recovered integer := 0;
begin
    if pg_try_advisory_xact_lock(44) then
        v_recovered := recover_stuck_jobs_v2();
        perform roll_up_usage_v2();
        perform adapt_prices_v2();
        perform pace_bytes_v2();
    end if;
    return query select u.upstream, u.breaker_state, u.paused_until, v_recovered from upstreams_v2 u order by u.upstream;
end
$$;
comment on function invoke_processor_loop_v2 is
    'One turn of the gate, single-flight by lock 44: recovery, usage roll-up, prices, the pace of the bytes. Whoever does not get the lock reads the same verdict.';
revoke all on function invoke_processor_loop_v2 from public;
grant execute on function invoke_processor_loop_v2 to refreshd_daemon;
