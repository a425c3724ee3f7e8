create or replace function renew_leases_v2(p_lease_ids uuid[], p_seconds integer)
returns setof uuid
language sql
volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
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
    returning q.lease_id
$$;
comment on function renew_leases_v2 is 'Extends leases from now and waits for nobody: a job that is just being ended is passed over. Returns those extended.';
revoke all on function renew_leases_v2 from public;
grant execute on function renew_leases_v2 to refreshd_daemon;
