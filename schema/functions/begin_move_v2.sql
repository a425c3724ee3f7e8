create or replace function begin_move_v2(
    p_data_type text,
    p_who text,
    p_why text,
    p_baseline text,
    p_old_jobs jsonb,
    p_hold_seconds double precision
)
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_symbols integer;
begin
    if p_hold_seconds is null or p_hold_seconds not between 0 and 86400 then
        raise exception 'p_hold_seconds must be from 0 to 86400' using errcode = 'invalid_parameter_value';
    end if;
    perform lock_move_v2(p_data_type, array['old', 'pausing', 'rolled_back']);
    perform change_cron_jobs_v2(p_old_jobs, 'pause');
    v_symbols := take_over_state_v2(p_data_type);

    insert into migration_phases_v2 (data_type, phase, started_at, held_until, baseline, old_jobs, symbols_at_start)
    values (
        p_data_type, 'watched', clock_timestamp(), clock_timestamp() + make_interval(secs => p_hold_seconds),
        p_baseline, p_old_jobs, v_symbols
    )
    on conflict (data_type) do update
    set phase = excluded.phase, since = clock_timestamp(), started_at = excluded.started_at,
        held_until = excluded.held_until, baseline = excluded.baseline, old_jobs = excluded.old_jobs,
        symbols_at_start = excluded.symbols_at_start, checks = '[]', checked_at = null;
    delete from migration_samples_v2 s where s.data_type = p_data_type;

    insert into feature_flags as f (flag_name, enabled, metadata)
    values (
        'migrate_' || replace(p_data_type, '-', '_') || '_type', true, jsonb_build_object('changed_by', p_who)
    )
    on conflict (flag_name) do update
    set enabled = true, metadata = f.metadata || excluded.metadata, updated_at = clock_timestamp()
    where not f.enabled;
    perform note_move_v2(p_data_type, 'started', p_who, p_why, jsonb_build_object(
        'symbols', v_symbols, 'baseline', p_baseline, 'old_jobs', p_old_jobs, 'hold_seconds', p_hold_seconds));
    return v_symbols;
end
$$;
comment on function begin_move_v2 is
    'Moves a data type over in one transaction: pauses its old jobs, takes over what their table knows, turns its flag on, and holds it for p_hold_seconds, while a run of an old job may still go on. Returns the number of symbols taken over.';
revoke all on function begin_move_v2 from public;
