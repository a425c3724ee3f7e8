create or replace function trip_breaker_v2(
    p_upstream text,
    p_reason text,
    p_probe_id uuid,
    p_first_open_seconds double precision,
    p_longest_open_seconds double precision
)
returns double precision
language sql
volatile
set search_path = public, pg_temp
as $$
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
    returning u.breaker_open_seconds
$$;
comment on function trip_breaker_v2 is
    'Opens a closed breaker, or one whose probe the caller holds, then for twice as long as before. Returns the seconds it stays open; NULL where somebody else was first.';
revoke all on function trip_breaker_v2 from public;
grant execute on function trip_breaker_v2 to refreshd_daemon;
