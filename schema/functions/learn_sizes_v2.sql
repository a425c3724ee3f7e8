create or replace function learn_sizes_v2(p_job_ids uuid[])
returns void
language plpgsql
volatile
set search_path = public, pg_temp
set enable_seqscan = off
as $$
begin
    perform
    from data_type_state_v2 d
    where d.data_type in (select q.data_type from api_call_queue_v2_completed q where q.id = any (p_job_ids))
    order by d.data_type
    for update;

    -- An estimate of 0 jumps to the actual size.
    update data_type_state_v2 d
    set estimated_data_size_bytes = case
            when coalesce(d.estimated_data_size_bytes, r.estimated_data_size_bytes) = 0 then a.bytes
            else (coalesce(d.estimated_data_size_bytes, r.estimated_data_size_bytes) * 0.9 + a.bytes * 0.1)::bigint
        end
    from (
        select q.data_type, avg(q.actual_data_size_bytes)::bigint as bytes
        from api_call_queue_v2_completed q
        where q.id = any (p_job_ids) and q.actual_data_size_bytes > 0
        group by q.data_type
    ) a
    join data_type_registry_v2 r on r.data_type = a.data_type
    where d.data_type = a.data_type;
end
$$;
comment on function learn_sizes_v2 is
    'Moves the size estimates of types towards what completed jobs received, by moving average. These rows are hot: call it last in a transaction.';
revoke all on function learn_sizes_v2 from public;
grant execute on function learn_sizes_v2 to refreshd_daemon;
