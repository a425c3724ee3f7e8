create or replace function acquire_probe_v2(p_upstream text, p_lease_seconds double precision)
returns uuid
language sql
volatile
set search_path = public, pg_temp
as $$
    update upstreams_v2 u
    set breaker_state = 'half_open',
        probe_id = gen_random_uuid(),
        probe_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds)
    where u.upstream = p_upstream
      and u.breaker_state <> 'closed'
      and u.breaker_open_until <= clock_timestamp()
      and (u.probe_expires_at is null or u.probe_expires_at <= clock_timestamp())
    returning u.probe_id
$$;
comment on function acquire_probe_v2 is 'Grants the one probe of a breaker whose time is up, as a lease; NULL where it is not up or somebody else probes.';
revoke all on function acquire_probe_v2 from public;
grant execute on function acquire_probe_v2 to refreshd_daemon;
