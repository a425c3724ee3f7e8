create or replace function withdraw_jobs_v2(p_data_type text)
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_withdrawn uuid[];
begin
    -- State rows first, in order, as everywhere.
    perform
    from refresh_state_v2 s
    where s.data_type = p_data_type and s.open_job_id is not null
    order by s.symbol, s.data_type
    for update;
    with withdrawn as (
        delete from api_call_queue_v2_pending q where q.data_type = p_data_type returning q.id
    )
    select coalesce(array_agg(w.id), '{}') into v_withdrawn from withdrawn w;
    update refresh_state_v2 s
    set open_job_id = null
    where s.data_type = p_data_type and s.open_job_id = any (v_withdrawn);
    return cardinality(v_withdrawn);
end
$$;
comment on function withdraw_jobs_v2 is
    'Takes the pending jobs of a type out of the queue and frees their pairs: what they would have refreshed is due as before. Returns how many.';
revoke all on function withdraw_jobs_v2 from public;
