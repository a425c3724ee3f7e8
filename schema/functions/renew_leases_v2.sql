create or replace function renew_leases_v2(p_lease_ids uuid[], p_seconds integer)
returns setof uuid
language sql
volatile
set search_path = public, pg_temp
as $$
    with held as (
        select q.id
        from api_call_queue_v2_processing q
        where q.lease_id = any (p_lease_ids)
        order by q.symbol, q.data_type
        for update
    )
    update api_call_queue_v2_processing q
    set lease_expires_at = clock_timestamp() + make_interval(secs => p_seconds)
    from held h
    where q.id = h.id
    returning q.lease_id
$$;
comment on function renew_leases_v2 is 'Extends leases from now; returns those that were still held.';
revoke all on function renew_leases_v2 from public;
grant execute on function renew_leases_v2 to refreshd_daemon;
