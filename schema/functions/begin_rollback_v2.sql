create or replace function begin_rollback_v2(p_data_type text, p_who text, p_why text)
returns jsonb
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_move migration_phases_v2;
    v_withdrawn integer;
begin
    v_move := lock_move_v2(
        p_data_type, array['pausing', 'watched', 'finished', 'rolling_back', 'resuming']);
    if v_move.phase in ('rolling_back', 'resuming') then
        return v_move.old_jobs; -- begun by somebody who did not get to the end of it
    end if;

    -- Every claim reads the flags and keeps its lock on them to its end: when this one is given, whoever saw the flag on
    -- has put its jobs where the next step finds them, and nobody will see it on again.
    lock table feature_flags in access exclusive mode;
    update feature_flags f
    set enabled = false, metadata = f.metadata || jsonb_build_object('changed_by', p_who), updated_at = clock_timestamp()
    where f.flag_name = 'migrate_' || replace(p_data_type, '-', '_') || '_type';

    v_withdrawn := withdraw_jobs_v2(p_data_type);
    update migration_phases_v2 m
    set phase = 'rolling_back', since = clock_timestamp(), held_until = null, checks = '[]', checked_at = null
    where m.data_type = p_data_type;
    perform note_move_v2(p_data_type, 'rolling back', p_who, p_why, jsonb_build_object(
        'from', v_move.phase, 'withdrawn_jobs', v_withdrawn));
    return v_move.old_jobs;
end
$$;
comment on function begin_rollback_v2 is
    'First step back: turns the flag off so that nothing of the type is claimed from its commit on, and withdraws what waits; what is under way ends by itself. Returns the old jobs. Safe to repeat.';
revoke all on function begin_rollback_v2 from public;
