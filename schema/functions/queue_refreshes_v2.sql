create or replace function queue_refreshes_v2(
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
    v_wrong text;
    v_symbols text[];
    v_types text[];
    v_priorities integer[];
    v_gains double precision[];
begin
    select string_agg(distinct format('%s/%s', coalesce(i.symbol, 'NULL'), coalesce(i.data_type, 'NULL')), ', ')
    into v_wrong
    from unnest(p_symbols, p_data_types, p_priorities) as i (symbol, data_type, priority)
    left join data_type_registry_v2 r on r.data_type = i.data_type
    left join supported_symbols s on s.symbol = i.symbol and s.is_active
    where r.data_type is null
       or i.symbol is null
       or i.priority is null
       or i.priority < -1
       or (r.symbol_column is null) <> (i.symbol = 'GLOBAL')
       or (r.symbol_column is not null and s.symbol is null);
    if v_wrong is not null then
        raise exception 'cannot queue %: the data type is not in data_type_registry_v2, the symbol is not active in supported_symbols, or the priority is below -1', left(v_wrong, 500)
            using errcode = 'invalid_parameter_value';
    end if;

    -- What the flags allow, each pair once, in the order in which locks are taken.
    select array_agg(w.symbol), array_agg(w.data_type), array_agg(w.priority), array_agg(w.gain)
    into v_symbols, v_types, v_priorities, v_gains
    from (
        select
            i.symbol,
            i.data_type,
            max(i.priority) as priority,
            max(coalesce(i.gain, r.weight * greatest(i.priority, 0) * r.default_ttl_minutes * 60)) as gain
        from unnest(p_symbols, p_data_types, p_priorities, p_gains) as i (symbol, data_type, priority, gain)
        join enabled_data_types_v2 r on r.data_type = i.data_type
        group by i.symbol, i.data_type
        order by i.symbol, i.data_type
    ) w;
    if v_symbols is null then
        return;
    end if;

    insert into refresh_state_v2 (symbol, data_type)
    select w.symbol, w.data_type
    from unnest(v_symbols, v_types) with ordinality as w (symbol, data_type, n)
    order by w.n
    on conflict do nothing;

    perform
    from refresh_state_v2 s
    join unnest(v_symbols, v_types) as w (symbol, data_type) using (symbol, data_type)
    order by s.symbol, s.data_type
    for update of s;

    return query
    with wanted as (
        select w.*, s.open_job_id, s.last_success_at
        from unnest(v_symbols, v_types, v_priorities, v_gains) as w (symbol, data_type, priority, gain)
        join refresh_state_v2 s using (symbol, data_type)
    ),
    opened as (
        update refresh_state_v2 s
        set open_job_id = gen_random_uuid()
        from wanted w
        where s.symbol = w.symbol and s.data_type = w.data_type and w.open_job_id is null
        returning s.symbol, s.data_type, s.open_job_id, w.priority, w.gain, w.last_success_at
    ),
    queued as (
        insert into api_call_queue_v2_pending (id, symbol, data_type, lane, priority, gain, estimated_data_size_bytes)
        select
            o.open_job_id,
            o.symbol,
            o.data_type,
            case when o.priority < 0 then 2 when o.last_success_at is null then 0 else 1 end,
            o.priority,
            o.gain,
            coalesce(t.estimated_data_size_bytes, r.estimated_data_size_bytes)
        from opened o
        join data_type_registry_v2 r on r.data_type = o.data_type
        left join data_type_state_v2 t on t.data_type = o.data_type
    ),
    raised as (
        update api_call_queue_v2_pending q
        set priority = w.priority,
            gain = greatest(q.gain, w.gain),
            lane = case when w.last_success_at is null then 0 else 1 end
        from wanted w
        where q.id = w.open_job_id and q.priority < w.priority
    )
    select o.symbol, o.data_type, o.open_job_id, true from opened o
    union all
    select w.symbol, w.data_type, w.open_job_id, false from wanted w where w.open_job_id is not null;
end
$$;
comment on function queue_refreshes_v2 is
    'Queues pairs, idempotently under any concurrency: a pair with an open job keeps it, and its priority is raised, never lowered. Unknown types and symbols raise; types whose flags are off are left out. Returns the open job of every pair and whether it is new.';
revoke all on function queue_refreshes_v2 from public;
grant execute on function queue_refreshes_v2 to refreshd_daemon;
