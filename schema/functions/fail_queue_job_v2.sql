create or replace function fail_queue_job_v2(
    p_job_id uuid,
    p_lease_id uuid,
    p_error_message text,
    p_retryable boolean,
    p_retry_after interval,
    p_next_due_at timestamptz
)
returns text
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_job api_call_queue_v2_processing;
begin
    if not p_next_due_at between now() - interval '10 years' and now() + interval '10 years' then
        raise exception 'p_next_due_at must be a time within ten years of now, not %', p_next_due_at
            using errcode = 'invalid_parameter_value';
    end if;
    perform lock_job_pairs_v2(array[p_job_id]);

    delete from api_call_queue_v2_processing q
    where q.id = p_job_id and q.lease_id = p_lease_id
    returning q.* into v_job;
    if v_job.id is null then
        return 'lost';
    end if;

    if p_retryable and v_job.retry_count < v_job.max_retries then
        insert into api_call_queue_v2_pending (
            id, symbol, data_type, lane, priority, gain, claims, resets, retry_count, max_retries,
            created_at, not_before, estimated_data_size_bytes, error_message, job_metadata
        )
        values (
            v_job.id, v_job.symbol, v_job.data_type, v_job.lane, v_job.priority, v_job.gain, v_job.claims, v_job.resets,
            v_job.retry_count + 1, v_job.max_retries, v_job.created_at,
            clock_timestamp() + coalesce(
                least(greatest(p_retry_after, interval '0'), interval '1 day'), retry_delay_v2(v_job.retry_count)),
            v_job.estimated_data_size_bytes, left(p_error_message, 1000), v_job.job_metadata
        );
        return 'retry';
    end if;

    insert into api_call_queue_v2_failed (
        id, symbol, data_type, status, lane, priority, gain, claims, resets, retry_count, max_retries, created_at,
        not_before, claimed_at, finished_at, claimed_by, estimated_data_size_bytes, outcome, error_message, job_metadata
    )
    values (
        v_job.id, v_job.symbol, v_job.data_type, 'failed', v_job.lane, v_job.priority, v_job.gain, v_job.claims,
        v_job.resets, v_job.retry_count, v_job.max_retries, v_job.created_at, v_job.not_before, v_job.claimed_at,
        clock_timestamp(), v_job.claimed_by, v_job.estimated_data_size_bytes, 'failed', left(p_error_message, 1000),
        v_job.job_metadata
    );
    update refresh_state_v2 s
    set last_checked_at = clock_timestamp(),
        last_outcome = 'failed',
        consecutive_failures = s.consecutive_failures + 1,
        next_due_at = coalesce(p_next_due_at, clock_timestamp() + interval '15 minutes'),
        open_job_id = null
    where s.symbol = v_job.symbol and s.data_type = v_job.data_type and s.open_job_id = v_job.id;
    return 'failed';
end
$$;
comment on function fail_queue_job_v2 is
    'Charges a retry, with back-off through not_before, or fails the job for good when it is not retryable or the retries are used up; only then next_due_at is set. Returns retry, failed, or lost where the lease was lost.';
revoke all on function fail_queue_job_v2 from public;
grant execute on function fail_queue_job_v2 to refreshd_daemon;
