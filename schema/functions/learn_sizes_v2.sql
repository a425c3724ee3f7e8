create or replace function learn_sizes_v2(p_job_ids uuid[])
returns void
language sql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
as $$
    -- A type that somebody else is learning about is passed over: nobody waits for another's commit, and a sample does no harm.
    with seen as (
        select q.data_type, avg(q.actual_data_size_bytes)::bigint as bytes
        from api_call_queue_v2_completed q
        where q.id = any (p_job_ids) and q.actual_data_size_bytes > 0
        group by q.data_type
    ),
    locked as (
        select d.data_type
        from data_type_state_v2 d
        where d.data_type in (select s.data_type from seen s)
        order by d.data_type
        for update skip locked
    )
    -- An estimate of 0 jumps to the actual size.
    update data_type_state_v2 d
    set estimated_data_size_bytes = case
            when coalesce(d.estimated_data_size_bytes, r.estimated_data_size_bytes) = 0 then s.bytes
            else (coalesce(d.estimated_data_size_bytes, r.estimated_data_size_bytes) * 0.9 + s.bytes * 0.1)::bigint
        end
    from locked l
    join seen s on s.data_type = l.data_type
    join data_type_registry_v2 r on r.data_type = l.data_type
    where d.data_type = l.data_type
$$;
comment on function learn_sizes_v2 is
    'Moves the size estimates of types towards what completed jobs received, by moving average; a type whose row is locked is left out. These rows are hot: call it last in a transaction.';
revoke all on function learn_sizes_v2 from public;
grant execute on function learn_sizes_v2 to refreshd_daemon;
