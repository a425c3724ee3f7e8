create or replace function close_breaker_v2(p_upstream text, p_probe_id uuid)
returns boolean
language sql
volatile
set search_path = public, pg_temp
as $$
    with closed as (
        update upstreams_v2 u
        set breaker_state = 'closed',
            breaker_reason = null,
            breaker_changed_at = clock_timestamp(),
            breaker_open_until = null,
            probe_id = null,
            probe_expires_at = null
        where u.upstream = p_upstream and u.probe_id = p_probe_id
        returning 1
    )
    select exists (select from closed)
$$;
comment on function close_breaker_v2 is 'Closes the breaker after a good probe; false where the caller no longer holds the probe.';
revoke all on function close_breaker_v2 from public;
grant execute on function close_breaker_v2 to refreshd_daemon;
