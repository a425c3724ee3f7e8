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
set jit = off
set enable_seqscan = off
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
        -- What the upstream asked for, and the jitter on top of it: otherwise all that failed together comes back together.
        v_job.not_before := clock_timestamp() + retry_delay_v2(v_job.retry_count)
            + coalesce(least(greatest(p_retry_after, interval '0'), interval '1 day'), interval '0');
        v_job.retry_count := v_job.retry_count + 1;
        v_job.error_message := p_error_message;
        perform requeue_job_v2(v_job);
        return 'retry';
    end if;
    perform bury_job_v2(v_job, p_error_message, p_next_due_at);
    return 'failed';
end
$$;
comment on function fail_queue_job_v2 is
    'Charges a retry, with back-off through not_before, or fails the job for good when it is not retryable or the retries are used up; only then next_due_at is set. Returns retry, failed, or lost where the lease was lost.';
revoke all on function fail_queue_job_v2 from public;
grant execute on function fail_queue_job_v2 to refreshd_daemon;
