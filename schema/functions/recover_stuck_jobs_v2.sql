create or replace function recover_stuck_jobs_v2(p_holder text default null)
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
as $$
declare
    v_ids uuid[];
    v_job api_call_queue_v2_processing;
    v_recovered integer := 0;
begin
    select array_agg(l.id) into v_ids
    from (
        select q.id
        from api_call_queue_v2_processing q
        where q.lease_expires_at < clock_timestamp()
           or (p_holder is not null
               and split_part(q.claimed_by, '/', 1) = split_part(p_holder, '/', 1)
               and q.claimed_by <> p_holder)
        order by q.lease_expires_at
        limit 1000
    ) l;

    -- State rows first, in order, as everywhere; a row that somebody works on is left for the next turn, and a job whose
    -- state row is gone is recovered all the same.
    with locked as materialized (
        select s.symbol, s.data_type
        from refresh_state_v2 s
        join api_call_queue_v2_processing q on q.symbol = s.symbol and q.data_type = s.data_type
        where q.id = any (v_ids)
        order by s.symbol, s.data_type
        for update of s skip locked
    )
    select array_agg(q.id) into v_ids
    from api_call_queue_v2_processing q
    where q.id = any (v_ids)
      and (exists (select from locked l where l.symbol = q.symbol and l.data_type = q.data_type)
           or not exists (select from refresh_state_v2 s where s.symbol = q.symbol and s.data_type = q.data_type));
    if v_ids is null then
        return 0;
    end if;

    for v_job in
        with locked as (
            select q.id
            from api_call_queue_v2_processing q
            where q.id = any (v_ids)
              and (q.lease_expires_at < clock_timestamp()
                   or (p_holder is not null
                       and split_part(q.claimed_by, '/', 1) = split_part(p_holder, '/', 1)
                       and q.claimed_by <> p_holder))
            for update skip locked
        )
        delete from api_call_queue_v2_processing q using locked l where q.id = l.id returning q.*
    loop
        if v_job.claims < 10 then
            v_job.not_before := clock_timestamp();
            perform requeue_job_v2(v_job);
        else
            perform bury_job_v2(v_job,
                format('claimed %s times and never finished: the job ends its workers, or they lose the database', v_job.claims),
                null);
        end if;
        v_recovered := v_recovered + 1;
    end loop;
    return v_recovered;
end
$$;
comment on function recover_stuck_jobs_v2 is
    'Returns jobs with expired leases to pending, and at once those of an older boot of the instance in p_holder (instance/boot). No retry is charged; ten claims without an end fail the job.';
revoke all on function recover_stuck_jobs_v2 from public;
grant execute on function recover_stuck_jobs_v2 to refreshd_daemon;
