create or replace function open_jobs_v2(
    p_symbols text[],
    p_data_types text[],
    p_priorities integer[],
    p_gains double precision[] default null
)
returns table (symbol text, data_type text, job_id uuid, created boolean)
language plpgsql
volatile
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    v_symbols text[];
    v_types text[];
    v_priorities integer[];
    v_gains double precision[];
    v_open_ids uuid[];
begin
    -- What may be queued, each pair once. A pair whose job needs no change is answered without a lock: most are, in most calls.
    select array_agg(w.symbol), array_agg(w.data_type), array_agg(w.priority), array_agg(w.gain),
           array_agg(coalesce(p.id, q.id))
    into v_symbols, v_types, v_priorities, v_gains, v_open_ids
    from (
        select
            i.symbol,
            i.data_type,
            max(i.priority) as priority,
            -- A gain that is no finite number from 0 up counts as missing.
            max(case when i.gain between 0 and 1e300 then i.gain
                     else r.weight * greatest(i.priority, 0) * r.default_ttl_minutes * 60 end) as gain
        from unnest(p_symbols, p_data_types, p_priorities, p_gains) as i (symbol, data_type, priority, gain)
        join enabled_data_types_v2 r on r.data_type = i.data_type
        left join supported_symbols a on a.symbol = i.symbol and a.is_active
        where i.priority >= -1
          and case when r.symbol_column is null then i.symbol = 'GLOBAL' else a.symbol is not null end
        group by i.symbol, i.data_type
    ) w
    left join refresh_state_v2 s on s.symbol = w.symbol and s.data_type = w.data_type
    left join api_call_queue_v2_pending p on p.id = s.open_job_id and p.priority >= w.priority
    left join api_call_queue_v2_processing q on q.id = s.open_job_id;
    if v_symbols is null then
        return;
    end if;

    return query
    select w.symbol, w.data_type, w.open_id, false
    from unnest(v_symbols, v_types, v_open_ids) as w (symbol, data_type, open_id)
    where w.open_id is not null;

    select array_agg(w.symbol), array_agg(w.data_type), array_agg(w.priority), array_agg(w.gain)
    into v_symbols, v_types, v_priorities, v_gains
    from unnest(v_symbols, v_types, v_priorities, v_gains, v_open_ids) as w (symbol, data_type, priority, gain, open_id)
    where w.open_id is null;
    if v_symbols is null then
        return;
    end if;

    insert into refresh_state_v2 (symbol, data_type)
    select w.symbol, w.data_type
    from unnest(v_symbols, v_types) as w (symbol, data_type)
    order by w.symbol, w.data_type
    on conflict do nothing;

    perform
    from refresh_state_v2 s
    join unnest(v_symbols, v_types) as w (symbol, data_type) using (symbol, data_type)
    order by s.symbol, s.data_type
    for update of s;

    -- The queue is asked for the pair's job, not open_job_id: one that points nowhere is replaced, one that is missing adopted.
    return query
    with wanted as materialized (
        select w.*, s.open_job_id, s.last_success_at, e.id as found_id
        from unnest(v_symbols, v_types, v_priorities, v_gains) as w (symbol, data_type, priority, gain)
        join refresh_state_v2 s using (symbol, data_type)
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
        insert into api_call_queue_v2_pending (symbol, data_type, lane, priority, gain, estimated_data_size_bytes)
        select
            w.symbol,
            w.data_type,
            case when w.priority < 0 then 2 when w.last_success_at is null then 0 else 1 end,
            w.priority,
            w.gain,
            coalesce(t.estimated_data_size_bytes, r.estimated_data_size_bytes)
        from wanted w
        join data_type_registry_v2 r on r.data_type = w.data_type
        left join data_type_state_v2 t on t.data_type = w.data_type
        where w.found_id is null
        on conflict do nothing
        returning symbol, data_type, id
    ),
    answered as materialized (
        select w.symbol, w.data_type, w.open_job_id, coalesce(q.id, w.found_id) as id, q.id is not null as created
        from wanted w
        left join queued q using (symbol, data_type)
    ),
    opened as (
        update refresh_state_v2 s
        set open_job_id = a.id
        from answered a
        where s.symbol = a.symbol and s.data_type = a.data_type and a.id is not null
          and a.id is distinct from a.open_job_id
    ),
    raised as (
        update api_call_queue_v2_pending q
        set priority = w.priority,
            gain = greatest(q.gain, w.gain),
            lane = case when w.last_success_at is null then 0 else 1 end
        from wanted w
        where q.id = w.found_id and q.priority < w.priority
    )
    select a.symbol, a.data_type, a.id, a.created from answered a where a.id is not null;
end
$$;
comment on function open_jobs_v2 is
    'Opens a job for every pair that has none and may have one, idempotently under any concurrency; raises the priority of an open one, never lowers it. Unknown pairs, inactive symbols and types whose flags are off are left out. Returns the open job of every other pair and whether it is new.';
revoke all on function open_jobs_v2 from public;
grant execute on function open_jobs_v2 to refreshd_daemon;
