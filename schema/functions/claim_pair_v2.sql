create or replace function claim_pair_v2(
    p_symbol text,
    p_data_type text,
    p_holder text,
    p_asked_at timestamptz,
    p_lease_seconds integer default 30
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
as $$
#variable_conflict use_column
declare
    v_state refresh_state_v2;
    v_job api_call_queue_v2;
begin
    if p_holder is null or p_asked_at is null or p_lease_seconds is null or p_lease_seconds not between 1 and 3600 then
        raise exception 'a claim needs p_holder, p_asked_at, and p_lease_seconds from 1 to 3600'
            using errcode = 'invalid_parameter_value';
    end if;
    if not exists (
        select
        from data_type_registry_v2 r
        left join supported_symbols a on a.symbol = p_symbol and a.is_active
        where r.data_type = p_data_type
          and case when r.symbol_column is null then p_symbol = 'GLOBAL' else a.symbol is not null end
    ) then
        raise exception 'cannot claim %/%: the data type is not in data_type_registry_v2, or the symbol is not active in supported_symbols',
            coalesce(left(p_symbol, 100), 'NULL'), coalesce(left(p_data_type, 100), 'NULL')
            using errcode = 'invalid_parameter_value';
    end if;

    insert into refresh_state_v2 as s (symbol, data_type)
    values (p_symbol, p_data_type)
    on conflict (symbol, data_type) do update set open_job_id = s.open_job_id
    returning s.* into v_state;
    if v_state.last_checked_at > p_asked_at then
        return;
    end if;

    -- A claim takes no state row, so the job may still move from pending to processing, and is looked for in that order.
    delete from api_call_queue_v2_pending q where q.symbol = p_symbol and q.data_type = p_data_type returning q.* into v_job;
    if v_job.id is null and exists (
        select from api_call_queue_v2_processing q where q.symbol = p_symbol and q.data_type = p_data_type
    ) then
        return;
    end if;

    insert into api_call_queue_v2_processing (
        id, symbol, data_type, status, lane, priority, gain, claims, resets, retry_count, max_retries, created_at,
        not_before, claimed_at, lease_id, lease_expires_at, claimed_by, estimated_data_size_bytes, error_message,
        job_metadata
    )
    select
        coalesce(v_job.id, gen_random_uuid()), p_symbol, p_data_type, 'processing', coalesce(v_job.lane, 1),
        coalesce(v_job.priority, 0), coalesce(v_job.gain, 0), coalesce(v_job.claims, 0) + 1, coalesce(v_job.resets, 0),
        coalesce(v_job.retry_count, 0), coalesce(v_job.max_retries, 3), coalesce(v_job.created_at, now()),
        coalesce(v_job.not_before, now()), clock_timestamp(), gen_random_uuid(),
        clock_timestamp() + make_interval(secs => p_lease_seconds), p_holder,
        coalesce(v_job.estimated_data_size_bytes, d.estimated_data_size_bytes, r.estimated_data_size_bytes),
        v_job.error_message, coalesce(v_job.job_metadata, '{}')
    from data_type_registry_v2 r
    left join data_type_state_v2 d on d.data_type = r.data_type
    where r.data_type = p_data_type
    returning * into v_job;
    update refresh_state_v2 s set open_job_id = v_job.id where s.symbol = p_symbol and s.data_type = p_data_type;

    return query
    select
        v_job.id, v_job.lease_id, v_job.symbol, v_job.data_type, r.edge_function_name, r.upstream, r.default_ttl_minutes,
        r.weight, v_job.lane, v_job.priority, v_job.retry_count, v_job.estimated_data_size_bytes,
        v_state.source_timestamp, v_state.etag, v_state.consecutive_failures, v_job.claimed_at
    from data_type_registry_v2 r
    where r.data_type = p_data_type;
end
$$;
comment on function claim_pair_v2 is
    'Claims one pair by order of an operator, whatever its flags say: its pending job, or a new one where it has none. Returns the job as get_queue_batch_v2 does, and nothing where somebody else is refreshing the pair, or has since p_asked_at.';
revoke all on function claim_pair_v2 from public;
grant execute on function claim_pair_v2 to refreshd_daemon;
