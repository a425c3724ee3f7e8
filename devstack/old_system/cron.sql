-- The part of pg_cron's interface that operators and refreshd use, where pg_cron itself cannot be installed.
-- A schedule is cron text or, as since pg_cron 1.5, "N seconds". The stand-in for its scheduler is in cron.py.

create schema cron;
create table cron.job (
    jobid bigint generated always as identity primary key,
    schedule text not null,
    command text not null,
    nodename text not null default 'localhost',
    nodeport integer not null default 5432,
    database text not null default current_database(),
    username text not null default current_user,
    active boolean not null default true,
    jobname text unique
);
create table cron.job_run_details (
    jobid bigint,
    runid bigint generated always as identity primary key,
    job_pid integer,
    database text,
    username text,
    command text,
    status text,
    return_message text,
    start_time timestamptz,
    end_time timestamptz
);

create function cron.schedule(job_name text, schedule text, command text) returns bigint language sql as $$
    insert into cron.job (jobname, schedule, command) values (job_name, schedule, command) returning jobid
$$;

create function cron.unschedule(job_id bigint) returns boolean language sql as $$
    with gone as (delete from cron.job where jobid = job_id returning 1) select exists (select from gone)
$$;

create function cron.alter_job(
    job_id bigint, schedule text default null, command text default null, database text default null,
    username text default null, active boolean default null
) returns void language plpgsql as $$
begin
    update cron.job j
    set schedule = coalesce(alter_job.schedule, j.schedule), command = coalesce(alter_job.command, j.command),
        active = coalesce(alter_job.active, j.active)
    where j.jobid = job_id;
    if not found then
        raise exception 'Job % does not exist or you don''t own it', job_id;
    end if;
end
$$;
