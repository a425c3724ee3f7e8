create or replace function queue_refresh_if_not_exists_v2(
    p_symbol text,
    p_data_type text,
    p_priority integer,
    p_estimated_size_bytes bigint default 0
)
returns uuid
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_job record;
begin
    select q.job_id, q.created into v_job
    from queue_refreshes_v2(array[p_symbol], array[p_data_type], array[p_priority], null) q;
    if v_job.created and p_estimated_size_bytes > 0 then
        update api_call_queue_v2_pending
        set estimated_data_size_bytes = p_estimated_size_bytes
        where id = v_job.job_id;
    end if;
    return v_job.job_id;
end
$$;
comment on function queue_refresh_if_not_exists_v2 is
    'Queues one pair and returns its open job, new or not; NULL where the flags of its type are off. An estimate above 0 replaces the learned one.';
revoke all on function queue_refresh_if_not_exists_v2 from public;
grant execute on function queue_refresh_if_not_exists_v2 to refreshd_daemon;
