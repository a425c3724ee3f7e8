create or replace function cancel_queue_job_v2(p_job_id uuid)
returns text
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_symbol text;
    v_data_type text;
    v_job api_call_queue_v2;
begin
    select q.symbol, q.data_type into v_symbol, v_data_type
    from api_call_queue_v2 q
    where q.id = p_job_id and q.status in ('pending', 'processing');

    perform
    from refresh_state_v2 s
    where s.symbol = v_symbol and s.data_type = v_data_type
    for update;

    -- A claim takes no state row, so the job may still move from pending to processing, and is looked for in that order.
    delete from api_call_queue_v2_pending q where q.id = p_job_id returning q.* into v_job;
    if v_job.id is null then
        delete from api_call_queue_v2_processing q where q.id = p_job_id returning q.* into v_job;
    end if;
    if v_job.id is null then
        return case when exists (select from api_call_queue_v2 q where q.id = p_job_id) then 'not_open' else 'unknown' end;
    end if;

    insert into api_call_queue_v2_failed (
        id, symbol, data_type, status, lane, priority, gain, claims, resets, retry_count, max_retries, created_at,
        not_before, claimed_at, finished_at, claimed_by, estimated_data_size_bytes, outcome, error_message, job_metadata
    )
    values (
        v_job.id, v_job.symbol, v_job.data_type, 'failed', v_job.lane, v_job.priority, v_job.gain, v_job.claims,
        v_job.resets, v_job.retry_count, v_job.max_retries, v_job.created_at, v_job.not_before, v_job.claimed_at,
        clock_timestamp(), v_job.claimed_by, v_job.estimated_data_size_bytes, 'failed',
        format('cancelled by %s', session_user), v_job.job_metadata
    );
    update refresh_state_v2 s
    set next_due_at = clock_timestamp() + greatest(make_interval(mins => r.default_ttl_minutes), interval '15 minutes'),
        open_job_id = nullif(s.open_job_id, v_job.id)
    from data_type_registry_v2 r
    where s.symbol = v_job.symbol and s.data_type = v_job.data_type and r.data_type = s.data_type;
    return 'cancelled';
end
$$;
comment on function cancel_queue_job_v2 is
    'Ends an open job as failed, by order of the login; its worker, if it has one, loses its lease. The pair is not due again before its TTL, or 15 minutes, are over, and no failure is counted. Returns cancelled, or not_open or unknown.';
revoke all on function cancel_queue_job_v2 from public;
grant execute on function cancel_queue_job_v2 to refreshd_daemon;
