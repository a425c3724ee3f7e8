-- What stays of finished jobs when their rows are gone. A job is counted in exactly one place: its row, or here.

create table job_summaries_v2 (
    day date not null,
    data_type text not null,
    outcome text not null,
    jobs bigint not null,
    retries bigint not null,
    bytes bigint not null,
    waited_seconds double precision not null,
    worked_seconds double precision not null,
    primary key (day, data_type, outcome)
);
comment on table job_summaries_v2 is 'Finished jobs whose rows were removed, by day (UTC) of their end; kept for ever. Sums, not means.';
comment on column job_summaries_v2.waited_seconds is 'From queueing to the last claim.';
comment on column job_summaries_v2.worked_seconds is 'From the last claim to the end.';

create view finished_jobs_v2 with (security_invoker = true) as
select
    (finished_at at time zone 'UTC')::date as day,
    data_type,
    coalesce(outcome, 'unknown') as outcome,
    retry_count,
    coalesce(actual_data_size_bytes, 0) as bytes,
    coalesce(extract(epoch from claimed_at - created_at), 0)::double precision as waited_seconds,
    coalesce(extract(epoch from finished_at - claimed_at), 0)::double precision as worked_seconds
from api_call_queue_v2
where status in ('completed', 'failed');
comment on view finished_jobs_v2 is 'The rows of finished jobs, as job_history_v2 counts them.';

create view job_history_v2 with (security_invoker = true) as
select
    day, data_type, outcome, sum(jobs)::bigint as jobs, sum(retries)::bigint as retries, sum(bytes)::bigint as bytes,
    sum(waited_seconds) as waited_seconds, sum(worked_seconds) as worked_seconds
from (
    select day, data_type, outcome, jobs, retries, bytes, waited_seconds, worked_seconds
    from job_summaries_v2
    union all
    select day, data_type, outcome, 1, retry_count, bytes, waited_seconds, worked_seconds
    from finished_jobs_v2
) h
group by day, data_type, outcome;
comment on view job_history_v2 is 'Finished jobs by day, type and outcome, from the first day on.';

alter table job_summaries_v2 enable row level security;
create policy refreshd_daemon on job_summaries_v2 to refreshd_daemon using (true) with check (true);
revoke all on job_summaries_v2, finished_jobs_v2, job_history_v2 from public;
grant select, insert, update on job_summaries_v2 to refreshd_daemon;
grant select on finished_jobs_v2, job_history_v2 to refreshd_daemon;

-- A month of attempts is millions of rows, of which a few minutes are looked at all the time: a share of the whole is too late.
alter table api_data_usage_v2 set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
