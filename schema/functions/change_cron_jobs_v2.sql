create or replace function change_cron_jobs_v2(p_old_jobs jsonb, p_change text)
returns text[]
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_job record;
    v_is_there boolean;
    v_left text[] := array[]::text[];
begin
    if p_change is null or p_change not in ('pause', 'resume', 'drop') then
        raise exception 'p_change must be pause, resume or drop' using errcode = 'invalid_parameter_value';
    end if;
    for v_job in select o.job_id as id, o.job_name as name, o.was_active from old_cron_jobs_v2(p_old_jobs) o loop
        if to_regclass('cron.job') is null then
            v_is_there := false;
        else
            execute 'select exists (select from cron.job j where j.jobid = $1)' into v_is_there using v_job.id;
        end if;
        if not v_is_there then
            if p_change = 'pause' then
                raise exception 'pg_cron has no job % (%), or it is another login''s', v_job.id, v_job.name
                    using errcode = 'object_not_in_prerequisite_state';
            end if;
            v_left := v_left || coalesce(v_job.name, v_job.id::text);
            continue;
        end if;
        -- One that was not active before is not woken by going back, and stays awake if somebody has woken it.
        continue when p_change = 'resume' and not v_job.was_active;
        begin
            if p_change = 'drop' then
                execute 'select cron.unschedule($1)' using v_job.id;
            else
                execute 'select cron.alter_job(job_id := $1, active := $2)'
                using v_job.id, p_change = 'resume';
            end if;
        exception
            when internal_error or raise_exception then
                raise exception 'pg_cron does not let % % job % (%): %. Each job is its login''s alone',
                    session_user, p_change, v_job.id, v_job.name, sqlerrm
                    using errcode = 'object_not_in_prerequisite_state';
        end;
    end loop;
    return v_left;
end
$$;
comment on function change_cron_jobs_v2 is
    'Pauses, resumes or drops those of the old jobs that are pg_cron''s, in the transaction of whoever calls it. Returns the names of those that are gone, and could neither be resumed nor dropped.';
revoke all on function change_cron_jobs_v2 from public;
