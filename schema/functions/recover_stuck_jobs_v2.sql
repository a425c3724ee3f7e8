create or replace function recover_stuck_jobs_v2(p_holder text default null)
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_ids uuid[];
    v_recovered integer;
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

    with locked as (
        select q.id
        from api_call_queue_v2_processing q
        where q.id = any (v_ids)
          and (q.lease_expires_at < clock_timestamp()
               or (p_holder is not null
                   and split_part(q.claimed_by, '/', 1) = split_part(p_holder, '/', 1)
                   and q.claimed_by <> p_holder))
        for update skip locked
    ),
    taken as (
        delete from api_call_queue_v2_processing q using locked l where q.id = l.id returning q.*
    ),
    requeued as (
        insert into api_call_queue_v2_pending (
            id, symbol, data_type, lane, priority, gain, claims, resets, retry_count, max_retries,
            created_at, not_before, estimated_data_size_bytes, error_message, job_metadata
        )
        select
            t.id, t.symbol, t.data_type, t.lane, t.priority, t.gain, t.claims, t.resets, t.retry_count, t.max_retries,
            t.created_at, clock_timestamp(), t.estimated_data_size_bytes, t.error_message, t.job_metadata
        from taken t
        where t.claims < 10
        on conflict do nothing
    ),
    buried as (
        insert into api_call_queue_v2_failed (
            id, symbol, data_type, status, lane, priority, gain, claims, resets, retry_count, max_retries, created_at,
            not_before, claimed_at, finished_at, claimed_by, estimated_data_size_bytes, outcome, error_message, job_metadata
        )
        select
            t.id, t.symbol, t.data_type, 'failed', t.lane, t.priority, t.gain, t.claims, t.resets, t.retry_count,
            t.max_retries, t.created_at, t.not_before, t.claimed_at, clock_timestamp(), t.claimed_by,
            t.estimated_data_size_bytes, 'failed',
            format('claimed %s times and never finished: the job ends its workers, or they lose the database', t.claims),
            t.job_metadata
        from taken t
        where t.claims >= 10
    ),
    stated as (
        update refresh_state_v2 s
        set last_checked_at = clock_timestamp(),
            last_outcome = 'failed',
            consecutive_failures = s.consecutive_failures + 1,
            next_due_at = clock_timestamp() + interval '15 minutes',
            open_job_id = null
        from taken t
        where t.claims >= 10 and s.symbol = t.symbol and s.data_type = t.data_type and s.open_job_id = t.id
    )
    select count(*) into v_recovered from taken;
    return v_recovered;
end
$$;
comment on function recover_stuck_jobs_v2 is
    'Returns jobs with expired leases to pending, and at once those of an older boot of the instance in p_holder (instance/boot). No retry is charged; ten claims without an end fail the job.';
revoke all on function recover_stuck_jobs_v2 from public;
grant execute on function recover_stuck_jobs_v2 to refreshd_daemon;
