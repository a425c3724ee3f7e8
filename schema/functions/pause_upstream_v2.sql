create or replace function pause_upstream_v2(p_upstream text, p_seconds double precision, p_reason text)
returns timestamptz
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_paused_until timestamptz;
begin
    if p_seconds is null or p_seconds = 'NaN' or p_seconds < 0 then
        raise exception 'p_seconds must be 0 or more, not %', coalesce(p_seconds::text, 'NULL')
            using errcode = 'invalid_parameter_value';
    end if;
    update upstreams_v2 u
    set paused_until = greatest(u.paused_until, clock_timestamp() + make_interval(secs => least(p_seconds, 31 * 86400))),
        pause_reason = left(p_reason, 500)
    where u.upstream = p_upstream
    returning u.paused_until into v_paused_until;
    return v_paused_until;
end
$$;
comment on function pause_upstream_v2 is 'Stops all calls to an upstream for a while (a rate limit, a used-up allowance); at most 31 days, the longest pause holds. Returns its end.';
revoke all on function pause_upstream_v2 from public;
grant execute on function pause_upstream_v2 to refreshd_daemon;
