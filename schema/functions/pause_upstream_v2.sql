create or replace function pause_upstream_v2(p_upstream text, p_seconds double precision, p_reason text)
returns timestamptz
language sql
volatile
set search_path = public, pg_temp
as $$
    update upstreams_v2 u
    set paused_until = greatest(u.paused_until, clock_timestamp() + make_interval(secs => p_seconds)),
        pause_reason = left(p_reason, 500)
    where u.upstream = p_upstream
    returning u.paused_until
$$;
comment on function pause_upstream_v2 is 'Stops all calls to an upstream for a while (a rate limit, a used-up allowance); the longest pause holds. Returns its end.';
revoke all on function pause_upstream_v2 from public;
grant execute on function pause_upstream_v2 to refreshd_daemon;
