create or replace function begin_rollback_v2(p_data_type text, p_who text, p_why text)
returns jsonb
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_move migration_phases_v2;
begin
    v_move := lock_move_v2(
        p_data_type, array['pausing', 'watched', 'finished', 'rolling_back', 'resuming', 'rolled_back']);
    update feature_flags f
    set enabled = false, metadata = f.metadata || jsonb_build_object('changed_by', p_who), updated_at = clock_timestamp()
    where f.flag_name = 'migrate_' || replace(p_data_type, '-', '_') || '_type';

    if v_move.phase in ('rolling_back', 'resuming', 'rolled_back') then
        perform note_move_v2(p_data_type, 'rolling back again', p_who, p_why);
        return v_move.old_jobs; -- begun by somebody who may not have got to the end of it
    end if;
    update migration_phases_v2 m
    set phase = 'rolling_back', since = clock_timestamp(), held_until = null, checks = '[]', checked_at = null
    where m.data_type = p_data_type;
    perform note_move_v2(p_data_type, 'rolling back', p_who, p_why, jsonb_build_object('from', v_move.phase));
    return v_move.old_jobs;
end
$$;
comment on function begin_rollback_v2 is
    'First step back: turns the flag off. Claims that begin after its commit take nothing of the type; those that saw the flag on have to be waited for. Returns the old jobs. Safe to repeat.';
revoke all on function begin_rollback_v2 from public;
