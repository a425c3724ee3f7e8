create or replace function release_jobs_v2(p_lease_ids uuid[])
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_released integer;
begin
    perform lock_job_pairs_v2(array(select q.id from api_call_queue_v2_processing q where q.lease_id = any (p_lease_ids)));

    with taken as (
        delete from api_call_queue_v2_processing q where q.lease_id = any (p_lease_ids) returning q.*
    ),
    released as (
        insert into api_call_queue_v2_pending (
            id, symbol, data_type, lane, priority, gain, claims, resets, retry_count, max_retries,
            created_at, not_before, estimated_data_size_bytes, error_message, job_metadata
        )
        select
            t.id, t.symbol, t.data_type, t.lane, t.priority, t.gain, greatest(t.claims - 1, 0), t.resets,
            t.retry_count, t.max_retries, t.created_at, t.not_before, t.estimated_data_size_bytes, t.error_message,
            t.job_metadata
        from taken t
        returning 1
    )
    select count(*) into v_released from released;
    return v_released;
end
$$;
comment on function release_jobs_v2 is 'Gives claimed jobs back in order (shutdown, a refused call) and takes their claim back. Returns how many were still held.';
revoke all on function release_jobs_v2 from public;
grant execute on function release_jobs_v2 to refreshd_daemon;
