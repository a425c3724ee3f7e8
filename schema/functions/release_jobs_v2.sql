create or replace function release_jobs_v2(p_lease_ids uuid[])
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
as $$
declare
    v_job api_call_queue_v2_processing;
    v_released integer := 0;
begin
    perform lock_job_pairs_v2(array(select q.id from api_call_queue_v2_processing q where q.lease_id = any (p_lease_ids)));

    for v_job in
        delete from api_call_queue_v2_processing q where q.lease_id = any (p_lease_ids) returning q.*
    loop
        v_job.claims := greatest(v_job.claims - 1, 0);
        perform requeue_job_v2(v_job);
        v_released := v_released + 1;
    end loop;
    return v_released;
end
$$;
comment on function release_jobs_v2 is 'Gives claimed jobs back in order (shutdown, a refused call) and takes their claim back. Returns how many were still held.';
revoke all on function release_jobs_v2 from public;
grant execute on function release_jobs_v2 to refreshd_daemon;
