create or replace function bury_job_v2(p_job api_call_queue_v2_processing, p_error_message text, p_next_due_at timestamptz)
returns void
language plpgsql
volatile
set search_path = public, pg_temp
as $$
begin
    insert into api_call_queue_v2_failed (
        id, symbol, data_type, status, lane, priority, gain, claims, resets, retry_count, max_retries, created_at,
        not_before, claimed_at, finished_at, claimed_by, estimated_data_size_bytes, outcome, error_message, job_metadata
    )
    values (
        p_job.id, p_job.symbol, p_job.data_type, 'failed', p_job.lane, p_job.priority, p_job.gain, p_job.claims,
        p_job.resets, p_job.retry_count, p_job.max_retries, p_job.created_at, p_job.not_before, p_job.claimed_at,
        clock_timestamp(), p_job.claimed_by, p_job.estimated_data_size_bytes, 'failed', left(p_error_message, 1000),
        p_job.job_metadata
    );
    update refresh_state_v2 s
    set last_checked_at = clock_timestamp(),
        last_outcome = 'failed',
        consecutive_failures = s.consecutive_failures + 1,
        next_due_at = coalesce(p_next_due_at, clock_timestamp() + interval '15 minutes'),
        open_job_id = null
    where s.symbol = p_job.symbol and s.data_type = p_job.data_type and s.open_job_id = p_job.id;
end
$$;
comment on function bury_job_v2 is
    'Fails a claimed job for good, deleted from its partition just before: keeps it with the reason, frees its pair, and sets when that is due again (in 15 minutes, where nobody says).';
revoke all on function bury_job_v2 from public;
grant execute on function bury_job_v2 to refreshd_daemon;
