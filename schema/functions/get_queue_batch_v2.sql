create or replace function get_queue_batch_v2(
    p_batch_size integer,
    p_holder text,
    p_lease_seconds integer default 30,
    p_fetchers text[] default null
)
returns table (
    job_id uuid,
    lease_id uuid,
    symbol text,
    data_type text,
    fetcher text,
    upstream text,
    ttl_minutes integer,
    weight real,
    lane smallint,
    priority integer,
    retry_count integer,
    estimated_data_size_bytes bigint,
    source_timestamp timestamptz,
    etag text,
    consecutive_failures integer,
    claimed_at timestamptz
)
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_slots integer := least(p_batch_size, 1000);
    v_upstream record;
    v_chosen uuid[];
    v_calls integer[];
    v_new uuid[];
    v_claimed uuid[] := '{}';
begin
    if p_holder is null
        or p_batch_size is null or p_batch_size not between 1 and 10000
        or p_lease_seconds is null or p_lease_seconds not between 1 and 3600
    then
        raise exception 'a claim needs p_holder, p_batch_size from 1 to 10000, and p_lease_seconds from 1 to 3600'
            using errcode = 'invalid_parameter_value';
    end if;

    for v_upstream in
        select
            u.upstream,
            case when u.breaker_state = 'closed' then 1000 else 1 end as most,
            paced_calls_v2(l.calls_per_minute, b.calls_in_window, b.calls_lately) as calls_left,
            (l.bytes_per_30_days * 0.95)::bigint - b.bytes_in_30_days as bytes_left,
            coalesce(u.bytes_ceiling - b.bytes_in_30_days, 9223372036854775807) as bytes_paced
        from upstreams_v2 u
        join upstream_limits_in_force_v2 l on l.upstream = u.upstream
        cross join lateral upstream_usage_v2(u.upstream) b
        where (u.paused_until is null or u.paused_until <= clock_timestamp())
          and (u.breaker_state = 'closed'
               or (u.breaker_open_until <= clock_timestamp()
                   and (u.probe_expires_at is null or u.probe_expires_at <= clock_timestamp())))
        order by u.upstream
    loop
        -- Chosen unlocked, then locked; topped up once for those that another claimer took in between.
        for v_attempt in 1..2 loop
            exit when v_slots = 0;
            select array_agg(c.job_id), array_agg(c.call) into v_chosen, v_calls
            from choose_jobs_v2(
                v_upstream.upstream, least(v_slots, v_upstream.most), v_upstream.calls_left, v_upstream.bytes_left,
                v_upstream.bytes_paced, p_fetchers, v_claimed) c;
            exit when v_chosen is null;

            with locked as (
                select p.id
                from api_call_queue_v2_pending p
                where p.id = any (v_chosen) and p.not_before <= clock_timestamp()
                for update skip locked
            ),
            taken as (
                delete from api_call_queue_v2_pending p using locked l where p.id = l.id returning p.*
            ),
            claimed as (
                insert into api_call_queue_v2_processing (
                    id, symbol, data_type, status, lane, priority, gain, claims, resets, retry_count, max_retries,
                    created_at, not_before, claimed_at, lease_id, lease_expires_at, claimed_by,
                    estimated_data_size_bytes, error_message, job_metadata
                )
                select
                    t.id, t.symbol, t.data_type, 'processing', t.lane, t.priority, t.gain, t.claims + 1, t.resets,
                    t.retry_count, t.max_retries, t.created_at, t.not_before, clock_timestamp(), gen_random_uuid(),
                    clock_timestamp() + make_interval(secs => p_lease_seconds), p_holder,
                    t.estimated_data_size_bytes, t.error_message, t.job_metadata
                from taken t
                returning id, data_type, estimated_data_size_bytes
            )
            select
                coalesce(array_agg(c.id), '{}'),
                v_upstream.bytes_left - coalesce(sum(c.estimated_data_size_bytes), 0),
                v_upstream.bytes_paced - coalesce(sum(c.estimated_data_size_bytes), 0)
            into v_new, v_upstream.bytes_left, v_upstream.bytes_paced
            from claimed c;
            v_claimed := v_claimed || v_new;

            select v_slots - count(*), v_upstream.calls_left - coalesce(sum(c.cost), 0)
            into v_slots, v_upstream.calls_left
            from (
                select max(r.api_calls_per_job) as cost
                from unnest(v_chosen, v_calls) as c (id, call)
                join api_call_queue_v2_processing q on q.id = c.id
                join data_type_registry_v2 r on r.data_type = q.data_type
                where c.id = any (v_new)
                group by c.call
            ) c;
            exit when cardinality(v_new) = cardinality(v_chosen);
        end loop;
    end loop;

    return query
    select
        q.id, q.lease_id, q.symbol, q.data_type, r.edge_function_name, r.upstream, r.default_ttl_minutes, r.weight,
        q.lane, q.priority, q.retry_count, q.estimated_data_size_bytes,
        s.source_timestamp, s.etag, coalesce(s.consecutive_failures, 0), q.claimed_at
    from api_call_queue_v2_processing q
    join data_type_registry_v2 r on r.data_type = q.data_type
    left join refresh_state_v2 s on s.symbol = q.symbol and s.data_type = q.data_type
    where q.id = any (v_claimed)
    order by q.lane = 2, q.gain desc, q.created_at;
end
$$;
comment on function get_queue_batch_v2 is
    'Claims as leases what fills up to p_batch_size calls (at most 1,000; a call carries batch_size jobs of its type), in the order of choose_jobs_v2. Takes what both budgets allow at their pace, respects not_before, flags, pauses and the breaker (one call while a probe is due), and counts the claim. With p_fetchers, only jobs of those fetchers.';
revoke all on function get_queue_batch_v2 from public;
grant execute on function get_queue_batch_v2 to refreshd_daemon;
