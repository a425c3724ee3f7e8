create or replace function choose_jobs_v2(
    p_upstream text,
    p_slots integer,
    p_calls_left bigint,
    p_bytes_left bigint,
    p_bytes_paced bigint,
    p_fetchers text[],
    p_except uuid[]
)
returns table (job_id uuid, call integer)
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_first_views integer;
    v_price_calls double precision;
    v_price_bytes double precision;
    v_most_calls integer;
    v_call record;
    v_number integer := 0;
    v_is_scheduled boolean;
begin
    p_slots := least(greatest(p_slots, 0), 10000);
    -- Prices per call and per byte, where the bytes that the budgets leave for one call are worth one call.
    -- Of what can be claimed now a tenth (first_view_share); the rest of the division is drawn by lot, so that a single
    -- call is theirs one time in ten, however many slots are free.
    select
        u.price_calls, u.price_bytes * l.calls_per_minute * 43200.0 / l.bytes_per_30_days, l.calls_per_minute,
        floor(least(p_slots, greatest(p_calls_left, 0)) * l.first_view_share + random())
    into v_price_calls, v_price_bytes, v_most_calls, v_first_views
    from upstreams_v2 u
    join upstream_limits_in_force_v2 l on l.upstream = u.upstream
    where u.upstream = p_upstream;

    foreach v_is_scheduled in array array[false, true] loop
        for v_call in
            with types as materialized (
                select
                    r.data_type, r.batch_size, r.api_calls_per_job,
                    greatest(coalesce(t.estimated_data_size_bytes, r.estimated_data_size_bytes), 1) as size
                from enabled_data_types_v2 r
                left join data_type_state_v2 t on t.data_type = r.data_type
                where r.upstream = p_upstream and (p_fetchers is null or r.edge_function_name = any (p_fetchers))
            ),
            candidates as (
                (
                    select p.id, p.data_type, p.gain, p.created_at, p.estimated_data_size_bytes as size, true as is_first
                    from api_call_queue_v2_pending p
                    where p.lane = 0
                      and not v_is_scheduled
                      and p.data_type in (select t.data_type from types t)
                      and p.not_before <= clock_timestamp()
                      and p.estimated_data_size_bytes <= p_bytes_left
                      and p.id <> all (p_except)
                    order by p.created_at
                    limit v_first_views
                )
                union all
                select q.*, false
                from types t
                cross join lateral (
                    select p.id, p.data_type, p.gain, p.created_at, p.estimated_data_size_bytes
                    from api_call_queue_v2_pending p
                    where p.data_type = t.data_type
                      and p.lane < 2
                      and p.not_before <= clock_timestamp()
                      and p.estimated_data_size_bytes <= p_bytes_left
                      and p.id <> all (p_except)
                    order by p.gain desc, p.created_at
                    limit p_slots * t.batch_size
                ) q
                where not v_is_scheduled
                union all
                select q.*, false
                from types t
                cross join lateral (
                    select p.id, p.data_type, p.gain, p.created_at, p.estimated_data_size_bytes
                    from api_call_queue_v2_pending p
                    where p.data_type = t.data_type
                      and p.lane = 2
                      and p.not_before <= clock_timestamp()
                      and p.estimated_data_size_bytes <= p_bytes_left
                      and p.id <> all (p_except)
                    order by p.created_at
                    limit p_slots * t.batch_size
                ) q
                where v_is_scheduled
            ),
            costs as (
                select
                    t.*,
                    v_price_calls * t.api_calls_per_job / least(t.batch_size, count(*)) + v_price_bytes * t.size as cost
                from (select distinct d.id, d.data_type from candidates d) c
                join types t on t.data_type = c.data_type
                group by t.data_type, t.batch_size, t.api_calls_per_job, t.size
            ),
            seated as (
                select
                    c.*,
                    t.api_calls_per_job,
                    t.cost,
                    c.gain / t.cost as index,
                    first_value(t.cost) over (order by c.gain / t.cost desc) as best_cost,
                    (row_number() over (
                        partition by c.data_type order by c.is_first desc, c.gain desc, c.created_at
                    ) - 1) / t.batch_size as call
                from (select distinct on (d.id) d.* from candidates d order by d.id, d.is_first desc) c
                join costs t on t.data_type = c.data_type
            )
            select
                max(s.api_calls_per_job) as calls,
                sum(s.size) as bytes,
                array_agg(s.id order by s.gain desc, s.created_at) as ids,
                array_agg(s.size order by s.gain desc, s.created_at) as sizes
            from seated s
            group by s.data_type, s.call
            -- First views get a tenth of what is spent: where one costs more than the best, its chance is that much smaller.
            order by (bool_or(s.is_first) and random() < max(s.best_cost) / max(s.cost)) desc, max(s.index) desc, min(s.created_at)
        loop
            exit when v_number = p_slots or p_bytes_paced <= 0;
            -- What needs several calls waits at the head until they are there: others would take them one by one for ever.
            continue when v_call.calls > v_most_calls;
            exit when v_call.calls > p_calls_left;
            -- One answer may run ahead of the pace; of several in one call, only what keeps it.
            if v_call.bytes > p_bytes_paced and cardinality(v_call.ids) > 1 then
                select array_agg(f.id), array_agg(f.size), sum(f.size) into v_call.ids, v_call.sizes, v_call.bytes
                from (
                    select j.id, j.size, j.place, sum(j.size) over (order by j.place) as total
                    from unnest(v_call.ids, v_call.sizes) with ordinality as j (id, size, place)
                ) f
                where f.place = 1 or f.total <= p_bytes_paced;
            end if;
            -- What the 30 days have no bytes for is passed over, so that one large job does not block small ones behind it.
            if v_call.bytes > p_bytes_left then
                select array_agg(f.id), sum(f.size) into v_call.ids, v_call.bytes
                from (
                    select j.id, j.size, sum(j.size) over (order by j.size, j.id) as total
                    from unnest(v_call.ids, v_call.sizes) as j (id, size)
                ) f
                where f.total <= p_bytes_left;
                continue when v_call.ids is null;
            end if;
            v_number := v_number + 1;
            p_calls_left := p_calls_left - v_call.calls;
            p_bytes_left := p_bytes_left - v_call.bytes;
            p_bytes_paced := p_bytes_paced - v_call.bytes;
            return query select i.id, v_number from unnest(v_call.ids) as i (id);
        end loop;
        exit when found;
    end loop;
end
$$;
comment on function choose_jobs_v2 is
    'The jobs to claim next, unlocked, and the call that each rides in: the best of every type by gain / cost, a tenth of what is spent for first views, oldest first; scheduled work, oldest first, only when nothing viewed waits. Cost is price x calls, shared by those in one call, and price x the size of the type. Keeps p_calls_left and p_bytes_left; what goes beyond p_bytes_paced is the last.';
revoke all on function choose_jobs_v2 from public;
grant execute on function choose_jobs_v2 to refreshd_daemon;
