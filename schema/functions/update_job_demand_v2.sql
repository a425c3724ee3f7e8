create or replace function update_job_demand_v2(p_symbols text[], p_data_types text[], p_gains double precision[])
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_symbols text[];
    v_types text[];
    v_dropped integer;
begin
    with locked as (
        select s.symbol, s.data_type
        from refresh_state_v2 s
        join (select distinct * from unnest(p_symbols, p_data_types) as i (symbol, data_type)) i using (symbol, data_type)
        where s.open_job_id is not null
        order by s.symbol, s.data_type
        for update of s
    )
    select array_agg(l.symbol), array_agg(l.data_type) into v_symbols, v_types from locked l;

    -- Only what is locked: a job opened since then belongs to somebody who may wait for one of these locks.
    with wanted as (
        select i.symbol, i.data_type, max(i.gain) filter (where i.gain between 0 and 1e300) as gain, coalesce(max(v.viewers), 0) as viewers
        from unnest(p_symbols, p_data_types, p_gains) as i (symbol, data_type, gain)
        join unnest(v_symbols, v_types) as l (symbol, data_type) using (symbol, data_type)
        left join lateral (
            select count(distinct a.user_id)::integer as viewers
            from active_subscriptions_v2 a
            where a.symbol = i.symbol and a.data_type = i.data_type
        ) v on true
        group by i.symbol, i.data_type
    ),
    moved as (
        update api_call_queue_v2_pending q
        set priority = w.viewers, gain = coalesce(w.gain, q.gain)
        from wanted w
        where q.symbol = w.symbol and q.data_type = w.data_type and q.priority >= 0 and w.viewers > 0
          and (q.priority = 0 or abs(coalesce(w.gain, q.gain) - q.gain) > q.gain / 10 or abs(w.viewers - q.priority) > q.priority / 10)
    ),
    dropped as (
        delete from api_call_queue_v2_pending q
        using wanted w
        where q.symbol = w.symbol and q.data_type = w.data_type and q.priority >= 0 and w.viewers = 0
        returning q.id, q.symbol, q.data_type
    ),
    freed as (
        update refresh_state_v2 s
        set open_job_id = null
        from dropped d
        where s.symbol = d.symbol and s.data_type = d.data_type and s.open_job_id = d.id
    )
    select count(*) into v_dropped from dropped;
    return v_dropped;
end
$$;
comment on function update_job_demand_v2 is
    'Pending jobs follow demand: priority from the viewers of all sources, gain from the caller, where one of them moved by more than a tenth. A viewed job that nobody views any more is dropped, scheduled work never. Returns the number dropped.';
revoke all on function update_job_demand_v2 from public;
grant execute on function update_job_demand_v2 to refreshd_daemon;
