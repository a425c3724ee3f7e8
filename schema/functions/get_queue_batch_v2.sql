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
as $$
#variable_conflict use_column
declare
    v_slots integer := p_batch_size;
    v_free integer;
    v_upstream record;
    v_job record;
    v_calls_left bigint;
    v_bytes_left bigint;
    v_chosen uuid[];
    v_calls integer[];
    v_call integer;
    v_seats jsonb;
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
        select u.*, l.calls_per_minute - b.calls_in_window as calls_left,
               (l.bytes_per_30_days * 0.95)::bigint - b.bytes_in_30_days as bytes_left
        from upstreams_v2 u
        join upstream_limits_in_force_v2 l on l.upstream = u.upstream
        cross join lateral upstream_usage_v2(u.upstream) b
        where (u.paused_until is null or u.paused_until <= clock_timestamp())
          and (u.breaker_state = 'closed'
               or (u.breaker_open_until <= clock_timestamp()
                   and (u.probe_expires_at is null or u.probe_expires_at <= clock_timestamp())))
        order by u.upstream
    loop
        v_calls_left := case when v_upstream.breaker_state = 'closed' then v_upstream.calls_left
                             else least(v_upstream.calls_left, 1) end;
        v_bytes_left := v_upstream.bytes_left;

        -- Chosen unlocked, then locked; topped up once for those that another claimer took in between.
        for v_attempt in 1..2 loop
            exit when v_slots = 0;
            v_free := v_slots;
            v_chosen := '{}';
            v_calls := '{}';
            v_call := 0;
            v_seats := '{}';
            for v_job in
                with candidates as (
                    select q.*, r.api_calls_per_job, r.batch_size
                    from enabled_data_types_v2 r
                    cross join lateral (
                        select p.id, p.data_type, p.lane, p.gain, p.created_at, p.estimated_data_size_bytes
                        from api_call_queue_v2_pending p
                        where p.data_type = r.data_type
                          and p.not_before <= clock_timestamp()
                          and p.estimated_data_size_bytes <= v_bytes_left
                          and p.id <> all (v_claimed)
                        order by p.lane, p.gain desc, p.created_at
                        limit v_slots * r.batch_size
                    ) q
                    where r.upstream = v_upstream.upstream
                      and (p_fetchers is null or r.edge_function_name = any (p_fetchers))
                )
                select
                    c.id,
                    c.data_type,
                    c.estimated_data_size_bytes as bytes,
                    c.api_calls_per_job as calls,
                    c.batch_size
                from candidates c
                where c.lane < 2 or not exists (select from candidates o where o.lane < 2)
                order by c.lane, c.gain desc, c.created_at
            loop
                -- What does not fit is passed over, so that one large job does not block small ones behind it.
                -- A job rides in the open call of its type, or begins one if a slot and the calls are left.
                continue when v_job.bytes > v_bytes_left;
                if coalesce((v_seats #>> array[v_job.data_type, 'free'])::integer, 0) = 0 then
                    continue when v_free = 0 or v_job.calls > v_calls_left;
                    v_call := v_call + 1;
                    v_free := v_free - 1;
                    v_calls_left := v_calls_left - v_job.calls;
                    v_seats := v_seats || jsonb_build_object(
                        v_job.data_type, jsonb_build_object('call', v_call, 'free', v_job.batch_size));
                end if;
                v_seats := jsonb_set(v_seats, array[v_job.data_type, 'free'],
                    to_jsonb((v_seats #>> array[v_job.data_type, 'free'])::integer - 1));
                v_bytes_left := v_bytes_left - v_job.bytes;
                v_chosen := v_chosen || v_job.id;
                v_calls := v_calls || (v_seats #>> array[v_job.data_type, 'call'])::integer;
            end loop;
            exit when cardinality(v_chosen) = 0;

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
                returning id
            )
            select coalesce(array_agg(c.id), '{}') into v_new from claimed c;
            v_claimed := v_claimed || v_new;
            v_slots := v_slots - (
                select count(distinct c.call)
                from unnest(v_chosen, v_calls) as c (id, call)
                join unnest(v_new) as n (id) on n.id = c.id
            );
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
    order by q.lane, q.gain desc, q.created_at;
end
$$;
comment on function get_queue_batch_v2 is
    'Claims as leases what fills up to p_batch_size calls (a call carries batch_size jobs of its type), in the order lane, gain, age; scheduled work only when nothing else waits. Takes what both budgets allow, respects not_before, flags, pauses and the breaker (one job while a probe is due), and counts the claim. With p_fetchers, only jobs of those fetchers.';
revoke all on function get_queue_batch_v2 from public;
grant execute on function get_queue_batch_v2 to refreshd_daemon;
