create or replace function trip_breaker_v2(
    p_upstream text,
    p_reason text,
    p_probe_id uuid,
    p_first_open_seconds double precision,
    p_longest_open_seconds double precision
)
returns double precision
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_breaker_open_seconds double precision;
begin
    if p_first_open_seconds is null or not p_first_open_seconds between 0.001 and 86400
        or p_longest_open_seconds is null or not p_longest_open_seconds between 0.001 and 86400
    then
        raise exception 'p_first_open_seconds and p_longest_open_seconds must be above 0 and at most 86400, not % and %',
            p_first_open_seconds, p_longest_open_seconds
            using errcode = 'invalid_parameter_value';
    end if;
    update upstreams_v2 u
    set breaker_state = 'open',
        breaker_reason = left(p_reason, 500),
        breaker_changed_at = clock_timestamp(),
        breaker_open_seconds = case
            when u.breaker_state = 'closed' then p_first_open_seconds
            else least(u.breaker_open_seconds * 2, p_longest_open_seconds)
        end,
        breaker_open_until = clock_timestamp() + make_interval(secs => case
            when u.breaker_state = 'closed' then p_first_open_seconds
            else least(u.breaker_open_seconds * 2, p_longest_open_seconds)
        end),
        probe_id = null,
        probe_expires_at = null
    where u.upstream = p_upstream
      and (u.breaker_state = 'closed' or (u.probe_id is not null and u.probe_id = p_probe_id))
    returning u.breaker_open_seconds into v_breaker_open_seconds;
    return v_breaker_open_seconds;
end
$$;
comment on function trip_breaker_v2 is
    'Opens a closed breaker, or one whose probe the caller holds, then for twice as long as before. Returns the seconds it stays open; NULL where somebody else was first.';
revoke all on function trip_breaker_v2 from public;
grant execute on function trip_breaker_v2 to refreshd_daemon;
