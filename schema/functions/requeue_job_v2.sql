create or replace function requeue_job_v2(p_job api_call_queue_v2_processing)
returns void
language sql
volatile
set search_path = public, pg_temp
as $$
    insert into api_call_queue_v2_pending (
        id, symbol, data_type, lane, priority, gain, claims, resets, retry_count, max_retries,
        created_at, not_before, estimated_data_size_bytes, error_message, job_metadata
    )
    values (
        p_job.id, p_job.symbol, p_job.data_type, p_job.lane, p_job.priority, p_job.gain, p_job.claims, p_job.resets,
        p_job.retry_count, p_job.max_retries, p_job.created_at, p_job.not_before, p_job.estimated_data_size_bytes,
        left(p_job.error_message, 1000), p_job.job_metadata
    )
    -- A twin in pending, which open_job_id rules out, would be as good; it must not stop the recovery of all others.
    on conflict do nothing
$$;
comment on function requeue_job_v2 is
    'Puts a claimed job, deleted from its partition just before and with its counters as they shall be, back to pending.';
revoke all on function requeue_job_v2 from public;
grant execute on function requeue_job_v2 to refreshd_daemon;
