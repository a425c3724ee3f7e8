create or replace function join_open_jobs_v2(
    p_symbols text[],
    p_data_types text[],
    p_priorities integer[],
    p_gains double precision[]
)
returns table (symbol text, data_type text, job_id uuid, created boolean)
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    -- The queue is asked for the pair's job, not open_job_id: one that points nowhere is replaced, one that is missing adopted.
    return query
    with wanted as materialized (
        select w.*, s.open_job_id, s.last_success_at, e.id as found_id, coalesce(e.id, gen_random_uuid()) as id
        from unnest(p_symbols, p_data_types, p_priorities, p_gains) as w (symbol, data_type, priority, gain)
        join refresh_state_v2 s on s.symbol = w.symbol and s.data_type = w.data_type
        left join lateral (
            select o.id
            from (
                select p.id from api_call_queue_v2_pending p where p.symbol = w.symbol and p.data_type = w.data_type
                union all
                select q.id from api_call_queue_v2_processing q where q.symbol = w.symbol and q.data_type = w.data_type
            ) o
            order by o.id is not distinct from s.open_job_id desc
            limit 1
        ) e on true
    ),
    queued as (
        insert into api_call_queue_v2_pending (id, symbol, data_type, lane, priority, gain, estimated_data_size_bytes)
        select
            w.id,
            w.symbol,
            w.data_type,
            case when w.priority < 0 then 2 when w.last_success_at is null then 0 else 1 end,
            w.priority,
            w.gain,
            coalesce(d.estimated_data_size_bytes, r.estimated_data_size_bytes)
        from wanted w
        join data_type_registry_v2 r on r.data_type = w.data_type
        left join data_type_state_v2 d on d.data_type = w.data_type
        where w.found_id is null
    ),
    opened as (
        update refresh_state_v2 s
        set open_job_id = w.id
        from wanted w
        where s.symbol = w.symbol and s.data_type = w.data_type and w.id is distinct from w.open_job_id
    ),
    raised as (
        update api_call_queue_v2_pending q
        set priority = w.priority,
            gain = greatest(q.gain, w.gain),
            lane = case when w.last_success_at is null then 0 else 1 end
        from wanted w
        where q.id = w.found_id and q.priority < w.priority
    )
    select w.symbol, w.data_type, w.id, w.found_id is null from wanted w;
end
$$;
comment on function join_open_jobs_v2 is
    'For pairs whose state rows the caller has locked: finds the open job of each, raises its priority, never lowers it, and mends an open_job_id that names no job or not the one there is. Returns the job of every pair and whether it had to be made.';
revoke all on function join_open_jobs_v2 from public;
grant execute on function join_open_jobs_v2 to refreshd_daemon;
