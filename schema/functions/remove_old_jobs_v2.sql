create or replace function remove_old_jobs_v2(p_status text, p_before timestamptz, p_most_rows integer)
returns bigint
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_removed bigint;
begin
    if p_status is null or p_status not in ('completed', 'failed') then
        raise exception 'only completed and failed jobs are ever removed, not %', coalesce(p_status, 'NULL')
            using errcode = 'invalid_parameter_value';
    end if;

    with old as (
        select q.id
        from api_call_queue_v2 q
        where q.status = p_status and q.finished_at < p_before
        order by q.finished_at
        limit greatest(p_most_rows, 0)
        for update skip locked
    ),
    removed as (
        delete from api_call_queue_v2 q
        using old o
        where q.id = o.id and q.status = p_status
        returning q.*
    ),
    summed as (
        insert into job_summaries_v2 as s (day, data_type, outcome, jobs, retries, bytes, waited_seconds, worked_seconds)
        select
            (r.finished_at at time zone 'UTC')::date,
            r.data_type,
            coalesce(r.outcome, 'unknown'),
            count(*),
            sum(r.retry_count),
            coalesce(sum(r.actual_data_size_bytes), 0),
            coalesce(sum(extract(epoch from r.claimed_at - r.created_at)), 0),
            coalesce(sum(extract(epoch from r.finished_at - r.claimed_at)), 0)
        from removed r
        group by 1, 2, 3
        order by 1, 2, 3
        on conflict (day, data_type, outcome) do update
        set jobs = s.jobs + excluded.jobs,
            retries = s.retries + excluded.retries,
            bytes = s.bytes + excluded.bytes,
            waited_seconds = s.waited_seconds + excluded.waited_seconds,
            worked_seconds = s.worked_seconds + excluded.worked_seconds
    )
    select count(*) into v_removed from removed;
    return v_removed;
end
$$;
comment on function remove_old_jobs_v2 is
    'Removes finished jobs of one status that ended before a time, the oldest first, and adds them to job_summaries_v2 in the same statement. Passes over rows that somebody has locked. Returns how many.';
revoke all on function remove_old_jobs_v2 from public;
grant execute on function remove_old_jobs_v2 to refreshd_daemon;
