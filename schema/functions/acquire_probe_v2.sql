create or replace function acquire_probe_v2(p_upstream text, p_lease_seconds double precision)
returns uuid
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_probe_id uuid;
begin
    if p_lease_seconds is null or not p_lease_seconds between 0.001 and 3600 then
        raise exception 'p_lease_seconds must be above 0 and at most 3600, not %', coalesce(p_lease_seconds::text, 'NULL')
            using errcode = 'invalid_parameter_value';
    end if;
    update upstreams_v2 u
    set breaker_state = 'half_open',
        probe_id = gen_random_uuid(),
        probe_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds)
    where u.upstream = p_upstream
      and u.breaker_state <> 'closed'
      and u.breaker_open_until <= clock_timestamp()
      and (u.probe_expires_at is null or u.probe_expires_at <= clock_timestamp())
    returning u.probe_id into v_probe_id;
    return v_probe_id;
end
$$;
comment on function acquire_probe_v2 is 'Grants the one probe of a breaker whose time is up, as a lease; NULL where it is not up or somebody else probes.';
revoke all on function acquire_probe_v2 from public;
grant execute on function acquire_probe_v2 to refreshd_daemon;
