create or replace function complete_queue_jobs_v2(
    p_job_ids uuid[],
    p_lease_ids uuid[],
    p_outcomes text[],
    p_fresh_until timestamptz[],
    p_next_due_at timestamptz[],
    p_bytes bigint[],
    p_source_timestamps timestamptz[],
    p_etags text[]
)
returns setof uuid
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
as $$
declare
    v_held uuid[];
    v_wrong uuid;
begin
    select i.job_id into v_wrong
    from unnest(p_job_ids, p_outcomes, p_fresh_until, p_next_due_at, p_bytes, p_source_timestamps)
        as i (job_id, outcome, fresh_until, next_due_at, bytes, source_timestamp)
    where i.job_id is not null
      and (coalesce(i.outcome, '') not in ('changed', 'unchanged', 'empty', 'rejected')
           or i.next_due_at is null
           or not i.next_due_at between now() - interval '10 years' and now() + interval '10 years'
           or not i.fresh_until between now() - interval '10 years' and now() + interval '10 years'
           or not isfinite(i.source_timestamp)
           or not i.bytes between 0 and 1099511627776)
    limit 1;
    if v_wrong is not null then
        raise exception 'completion of job %: p_outcomes holds changed, unchanged, empty or rejected, p_next_due_at and p_fresh_until times within ten years of now, p_bytes 0 to 1 TiB, p_source_timestamps nothing infinite', v_wrong
            using errcode = 'invalid_parameter_value';
    end if;

    perform lock_job_pairs_v2(p_job_ids);

    with input as (
        select *
        from unnest(p_job_ids, p_lease_ids, p_outcomes, p_fresh_until, p_next_due_at, p_bytes, p_source_timestamps, p_etags)
            as i (job_id, lease_id, outcome, fresh_until, next_due_at, bytes, source_timestamp, etag)
    ),
    taken as (
        delete from api_call_queue_v2_processing q
        using input i
        where q.id = i.job_id and q.lease_id = i.lease_id
        returning q.*, i.outcome as end_outcome, i.fresh_until, i.next_due_at, i.bytes, i.source_timestamp, i.etag
    ),
    completed as (
        insert into api_call_queue_v2_completed (
            id, symbol, data_type, status, lane, priority, gain, claims, resets, retry_count, max_retries, created_at,
            not_before, claimed_at, finished_at, claimed_by, estimated_data_size_bytes, actual_data_size_bytes, outcome,
            job_metadata
        )
        select
            t.id, t.symbol, t.data_type, 'completed', t.lane, t.priority, t.gain, t.claims, t.resets, t.retry_count,
            t.max_retries, t.created_at, t.not_before, t.claimed_at, clock_timestamp(), t.claimed_by,
            t.estimated_data_size_bytes, t.bytes, t.end_outcome, t.job_metadata
        from taken t
    ),
    stated as (
        update refresh_state_v2 s
        set last_checked_at = clock_timestamp(),
            last_success_at = case when t.end_outcome = 'empty' then s.last_success_at else clock_timestamp() end,
            last_outcome = t.end_outcome,
            consecutive_failures = 0,
            fresh_until = t.fresh_until,
            next_due_at = t.next_due_at,
            source_timestamp = coalesce(greatest(t.source_timestamp, s.source_timestamp), s.source_timestamp),
            -- New rows without an ETag must not be asked for by that of the old ones.
            etag = case when t.end_outcome = 'changed' then t.etag else coalesce(t.etag, s.etag) end,
            open_job_id = null
        from taken t
        where s.symbol = t.symbol and s.data_type = t.data_type and s.open_job_id = t.id
    )
    select array_agg(t.id) into v_held from taken t;

    return query select unnest(v_held);
end
$$;
comment on function complete_queue_jobs_v2 is
    'Completes jobs whose lease still holds: queue and state in one go. Returns the ids it still held; the effect may be stored for those alone, and learn_sizes_v2 called with them at the very end.';
revoke all on function complete_queue_jobs_v2 from public;
grant execute on function complete_queue_jobs_v2 to refreshd_daemon;
