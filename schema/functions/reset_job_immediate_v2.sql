create or replace function reset_job_immediate_v2(p_job_id uuid, p_lease_id uuid)
returns boolean
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
as $$
declare
    v_job api_call_queue_v2_processing;
begin
    perform lock_job_pairs_v2(array[p_job_id]);

    delete from api_call_queue_v2_processing q
    where q.id = p_job_id and q.lease_id = p_lease_id
    returning q.* into v_job;
    if v_job.id is null then
        return false;
    end if;
    v_job.not_before := clock_timestamp()
        + case when v_job.resets < 3 then interval '0' else retry_delay_v2(v_job.resets - 3) end;
    v_job.resets := v_job.resets + 1;
    v_job.claims := greatest(v_job.claims - 1, 0);
    perform requeue_job_v2(v_job);
    return true;
end
$$;
comment on function reset_job_immediate_v2 is
    'Back to pending with nothing charged but resets; after three of them with the normal back-off. False where the lease was lost.';
revoke all on function reset_job_immediate_v2 from public;
grant execute on function reset_job_immediate_v2 to refreshd_daemon;
