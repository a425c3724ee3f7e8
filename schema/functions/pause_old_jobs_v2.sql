create or replace function pause_old_jobs_v2(p_data_type text, p_who text, p_why text, p_old_jobs jsonb)
returns void
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_move migration_phases_v2 := lock_move_v2(p_data_type, array['old', 'pausing', 'rolled_back']);
begin
    perform old_cron_jobs_v2(p_old_jobs);
    if v_move.phase = 'pausing' then
        p_old_jobs := all_old_jobs_v2(v_move.old_jobs, p_old_jobs);
    end if;
    insert into migration_phases_v2 (data_type, phase, old_jobs)
    values (p_data_type, 'pausing', p_old_jobs)
    on conflict (data_type) do update
    set phase = excluded.phase, since = excluded.since, old_jobs = excluded.old_jobs, held_until = null;
    perform note_move_v2(p_data_type, 'pausing', p_who, p_why, jsonb_build_object('old_jobs', p_old_jobs));
end
$$;
comment on function pause_old_jobs_v2 is
    'Writes down which old jobs are about to be paused outside the database, before that is done: whoever ends in between is told where it stands.';
revoke all on function pause_old_jobs_v2 from public;
