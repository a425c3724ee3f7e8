create or replace function retry_failed_job_v2(p_job_id uuid)
returns text
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_symbol text;
    v_data_type text;
    v_type data_type_registry_v2;
    v_last_success_at timestamptz;
    v_job api_call_queue_v2_failed;
begin
    select q.symbol, q.data_type into v_symbol, v_data_type
    from api_call_queue_v2_failed q
    where q.id = p_job_id;
    if v_symbol is null then
        return case when exists (select from api_call_queue_v2 q where q.id = p_job_id) then 'not_failed' else 'unknown' end;
    end if;

    select r.* into v_type from data_type_registry_v2 r where r.data_type = v_data_type;
    if v_type.data_type is null
       or (v_type.symbol_column is not null
           and not exists (select from supported_symbols a where a.symbol = v_symbol and a.is_active))
    then
        return 'not_allowed';
    end if;
    if not exists (select from enabled_data_types_v2 e where e.data_type = v_data_type) then
        return 'off';
    end if;

    insert into refresh_state_v2 (symbol, data_type) values (v_symbol, v_data_type) on conflict do nothing;
    select s.last_success_at into v_last_success_at
    from refresh_state_v2 s
    where s.symbol = v_symbol and s.data_type = v_data_type
    for update;

    -- The queue is asked for the pair's job, as in open_jobs_v2: open_job_id may point nowhere, or be missing.
    if exists (
        select from api_call_queue_v2 q
        where q.symbol = v_symbol and q.data_type = v_data_type and q.status in ('pending', 'processing')
    ) then
        return 'open';
    end if;

    delete from api_call_queue_v2_failed q where q.id = p_job_id returning q.* into v_job;
    if v_job.id is null then
        return case when exists (select from api_call_queue_v2 q where q.id = p_job_id) then 'not_failed' else 'unknown' end;
    end if;
    insert into api_call_queue_v2_pending (
        id, symbol, data_type, lane, priority, gain, max_retries, created_at, not_before, estimated_data_size_bytes,
        job_metadata
    )
    values (
        v_job.id, v_symbol, v_data_type,
        case when v_job.priority < 0 then 2 when v_last_success_at is null then 0 else 1 end,
        v_job.priority, v_job.gain, v_job.max_retries, clock_timestamp(), clock_timestamp(),
        coalesce(
            (select t.estimated_data_size_bytes from data_type_state_v2 t where t.data_type = v_data_type),
            v_type.estimated_data_size_bytes
        ),
        v_job.job_metadata
    );
    update refresh_state_v2 s
    set open_job_id = v_job.id
    where s.symbol = v_symbol and s.data_type = v_data_type;
    return 'queued';
end
$$;
comment on function retry_failed_job_v2 is
    'Queues a failed job again as a fresh one: nothing counted, due at once. Returns queued; open where the pair has an open job; off where its flags are; not_allowed where type or symbol are gone; not_failed or unknown of the job itself. Only queued changes anything.';
revoke all on function retry_failed_job_v2 from public;
grant execute on function retry_failed_job_v2 to refreshd_daemon;
