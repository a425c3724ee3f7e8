create or replace function rename_in_cron_jobs_v2(p_before text[], p_after text[], p_only_look boolean)
returns text[]
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_job record;
    v_command text;
    v_name record;
    v_changed text[] := array[]::text[];
begin
    if to_regclass('cron.job') is null then
        return v_changed;
    end if;
    for v_job in execute 
        'select jobid, coalesce(jobname, jobid::text) as name, command
         from cron.job where database = current_database() order by jobid'
    loop
        v_command := v_job.command::text;
        for v_name in select * from unnest(p_before, p_after) as n (before, after) loop
            v_command := regexp_replace(v_command, '\m' || v_name.before || '\M', v_name.after, 'g');
        end loop;
        if v_command <> v_job.command then
            v_changed := v_changed || v_job.name::text;
            if not p_only_look then
                execute 'select cron.alter_job(job_id := $1, command := $2)' using v_job.jobid, v_command;
            end if;
        end if;
    end loop;
    return v_changed;
end
$$;
comment on function rename_in_cron_jobs_v2 is
    'Has jobs of pg_cron that call renamed objects call them by their new names; with p_only_look, only says which would be changed. Returns their names.';
revoke all on function rename_in_cron_jobs_v2 from public;
