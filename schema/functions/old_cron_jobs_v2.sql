create or replace function old_cron_jobs_v2(p_old_jobs jsonb)
returns table (job_id bigint, job_name text, was_active boolean)
language plpgsql
immutable
set search_path = public, pg_temp
as $$
begin
    if p_old_jobs is null
        or jsonb_typeof(p_old_jobs) <> 'array'
        or jsonb_path_exists(p_old_jobs, '$[*] ? (@.type() != "object")')
        or jsonb_path_exists(p_old_jobs, '$[*].cron_job ? (@.type() != "number" || @ < 0 || @ > 1000000000000)')
        or jsonb_path_exists(p_old_jobs, '$[*].was_active ? (@.type() != "boolean")')
    then
        raise exception 'p_old_jobs must be an array of objects, those of pg_cron with a number as cron_job'
            using errcode = 'invalid_parameter_value';
    end if;
    return query
    select (j ->> 'cron_job')::numeric::bigint, j ->> 'name', coalesce((j ->> 'was_active')::boolean, true)
    from jsonb_array_elements(p_old_jobs) j
    where j ->> 'cron_job' is not null;
end
$$;
comment on function old_cron_jobs_v2 is 'Those of the old jobs of a data type that are pg_cron''s.';
revoke all on function old_cron_jobs_v2 from public;
grant execute on function old_cron_jobs_v2 to refreshd_daemon;
