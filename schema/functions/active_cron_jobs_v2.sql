create or replace function active_cron_jobs_v2(p_old_jobs jsonb)
returns text[]
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_active text[];
begin
    execute
        'select case when count(*) = (select count(*) from old_cron_jobs_v2($1))
                     then coalesce(array_agg(coalesce(j.jobname, j.jobid::text) order by j.jobid) filter (where j.active), ''{}'')
                end
         from cron.job j
         where j.jobid in (select o.job_id from old_cron_jobs_v2($1) o)'
    into v_active using p_old_jobs;
    return v_active;
exception
    when undefined_table or insufficient_privilege or invalid_schema_name then
        return null;
end
$$;
comment on function active_cron_jobs_v2 is
    'Which of the old jobs are active in pg_cron; NULL where this login does not see all of them.';
revoke all on function active_cron_jobs_v2 from public;
grant execute on function active_cron_jobs_v2 to refreshd_daemon;
