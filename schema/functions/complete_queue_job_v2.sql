create or replace function complete_queue_job_v2(
    p_job_id uuid,
    p_lease_id uuid,
    p_outcome text,
    p_fresh_until timestamptz,
    p_next_due_at timestamptz,
    p_bytes bigint,
    p_source_timestamp timestamptz,
    p_etag text
)
returns boolean
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_held uuid;
begin
    select h into v_held
    from complete_queue_jobs_v2(
        array[p_job_id], array[p_lease_id], array[p_outcome], array[p_fresh_until], array[p_next_due_at],
        array[p_bytes], array[p_source_timestamp], array[p_etag]
    ) h;
    perform learn_sizes_v2(array[v_held]);
    return v_held is not null;
end
$$;
comment on function complete_queue_job_v2 is 'complete_queue_jobs_v2 and learn_sizes_v2 for one job; false where the lease was lost.';
revoke all on function complete_queue_job_v2 from public;
grant execute on function complete_queue_job_v2 to refreshd_daemon;
