create or replace function renew_leases_v2(p_lease_ids uuid[], p_seconds integer)
returns setof uuid
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
as $$
begin
    if p_seconds is null or p_seconds not between 1 and 3600 then
        raise exception 'p_seconds must be from 1 to 3600, not %', coalesce(p_seconds::text, 'NULL')
            using errcode = 'invalid_parameter_value';
    end if;
    return query
    with held as (
        select q.id
        from api_call_queue_v2_processing q
        where q.lease_id = any (p_lease_ids)
        for update skip locked
    )
    update api_call_queue_v2_processing q
    set lease_expires_at = clock_timestamp() + make_interval(secs => p_seconds)
    from held h
    where q.id = h.id
    returning q.lease_id;
end
$$;
comment on function renew_leases_v2 is 'Extends leases from now and waits for nobody: a job that is just being ended is passed over. Returns those extended.';
revoke all on function renew_leases_v2 from public;
grant execute on function renew_leases_v2 to refreshd_daemon;
