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
set jit = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_symbols text[];
    v_types text[];
    v_priorities integer[];
    v_gains double precision[];
    v_sizes bigint[];
    v_open_ids uuid[];
    v_new_symbols text[];
    v_new_types text[];
    v_new_ids uuid[];
begin
    -- What may be queued, each pair once. A pair whose job needs no change is answered without a lock: most are, in most calls.
    with types as materialized (
        select r.data_type, r.symbol_column is null as is_global,
               refresh_gain_v2(r.weight, 1, r.default_ttl_minutes) as gain_for_one,
               coalesce(d.estimated_data_size_bytes, r.estimated_data_size_bytes) as size
        from enabled_data_types_v2 r
        left join data_type_state_v2 d on d.data_type = r.data_type
    )
    select array_agg(w.symbol), array_agg(w.data_type), array_agg(w.priority), array_agg(w.gain), array_agg(w.size),
           array_agg(coalesce(p.id, q.id))
    into v_symbols, v_types, v_priorities, v_gains, v_sizes, v_open_ids
    from (
        select
            i.symbol,
            i.data_type,
            max(i.priority) as priority,
            -- A gain that is no finite number from 0 up counts as missing.
            max(case when i.gain between 0 and 1e300 then i.gain else r.gain_for_one * greatest(i.priority, 0) end) as gain,
            max(r.size) as size
        from unnest(p_symbols, p_data_types, p_priorities, p_gains) as i (symbol, data_type, priority, gain)
        join types r on r.data_type = i.data_type
        left join supported_symbols a on a.symbol = i.symbol and a.is_active
        where i.priority >= -1
          and case when r.is_global then i.symbol = 'GLOBAL' else a.symbol is not null end
        group by i.symbol, i.data_type
    ) w
    -- Looked up one by one, by their keys, however few of them the planner expects.
    left join lateral (
        select s.open_job_id as id from refresh_state_v2 s where s.symbol = w.symbol and s.data_type = w.data_type limit 1
    ) o on true
    left join lateral (
        select p.id from api_call_queue_v2_pending p where p.id = o.id and p.priority >= w.priority limit 1
    ) p on true
    left join lateral (select q.id from api_call_queue_v2_processing q where q.id = o.id limit 1) q on true;
    if v_symbols is null then
        return;
    end if;

    if array_remove(v_open_ids, null) <> '{}' then
        return query
        select w.symbol, w.data_type, w.open_id, false
        from unnest(v_symbols, v_types, v_open_ids) as w (symbol, data_type, open_id)
        where w.open_id is not null;

        select array_agg(w.symbol), array_agg(w.data_type), array_agg(w.priority), array_agg(w.gain), array_agg(w.size)
        into v_symbols, v_types, v_priorities, v_gains, v_sizes
        from unnest(v_symbols, v_types, v_priorities, v_gains, v_sizes, v_open_ids)
            as w (symbol, data_type, priority, gain, size, open_id)
        where w.open_id is null;
        if v_symbols is null then
            return;
        end if;
    end if;

    begin
        -- Locks every state row, in order, and takes those without a job: the condition is asked of the row as it is under
        -- the lock. The index on pending jobs guards the rule; one on processing jobs would only speak up at the claim.
        with taken as (
            insert into refresh_state_v2 as s (symbol, data_type, open_job_id)
            select w.symbol, w.data_type, gen_random_uuid()
            from unnest(v_symbols, v_types) as w (symbol, data_type)
            order by w.symbol, w.data_type
            on conflict (symbol, data_type) do update set open_job_id = excluded.open_job_id where s.open_job_id is null
            returning s.symbol, s.data_type, s.open_job_id, s.last_success_at
        ),
        queued as (
            insert into api_call_queue_v2_pending (id, symbol, data_type, lane, priority, gain, estimated_data_size_bytes)
            select
                t.open_job_id,
                t.symbol,
                t.data_type,
                case when w.priority < 0 then 2 when t.last_success_at is null then 0 else 1 end,
                w.priority,
                w.gain,
                w.size
            from taken t
            join unnest(v_symbols, v_types, v_priorities, v_gains, v_sizes) as w (symbol, data_type, priority, gain, size)
                on w.symbol = t.symbol and w.data_type = t.data_type
            where not exists (
                select from api_call_queue_v2_processing q where q.symbol = t.symbol and q.data_type = t.data_type
            )
            returning symbol, data_type, id
        )
        select array_agg(q.symbol), array_agg(q.data_type), array_agg(q.id)
        into v_new_symbols, v_new_types, v_new_ids
        from queued q;
    exception
        when unique_violation then
            -- Somebody has put a job into the queue past the state row; it is found below, under the locks.
            insert into refresh_state_v2 as s (symbol, data_type)
            select w.symbol, w.data_type
            from unnest(v_symbols, v_types) as w (symbol, data_type)
            order by w.symbol, w.data_type
            on conflict (symbol, data_type) do update set open_job_id = s.open_job_id;
            v_new_ids := null;
    end;

    return query
    select n.symbol, n.data_type, n.id, true
    from unnest(v_new_symbols, v_new_types, v_new_ids) as n (symbol, data_type, id);

    -- The others had a job when the lock was taken: it is raised, and an open_job_id that is wrong is put right.
    if coalesce(cardinality(v_new_ids), 0) < cardinality(v_symbols) then
        select array_agg(w.symbol), array_agg(w.data_type), array_agg(w.priority), array_agg(w.gain)
        into v_symbols, v_types, v_priorities, v_gains
        from unnest(v_symbols, v_types, v_priorities, v_gains) as w (symbol, data_type, priority, gain)
        left join unnest(v_new_symbols, v_new_types) as n (symbol, data_type)
            on n.symbol = w.symbol and n.data_type = w.data_type
        where n.symbol is null;
        return query select * from join_open_jobs_v2(v_symbols, v_types, v_priorities, v_gains);
    end if;
end
$$;
comment on function open_jobs_v2 is
    'Opens a job for every pair that has none and may have one, idempotently under any concurrency; raises the priority of an open one, never lowers it. Unknown pairs, inactive symbols and types whose flags are off are left out. Returns the open job of every other pair and whether it is new.';
revoke all on function open_jobs_v2 from public;
grant execute on function open_jobs_v2 to refreshd_daemon;
