create or replace function begin_move_v2(
    p_data_type text,
    p_who text,
    p_why text,
    p_baseline text,
    p_old_jobs jsonb,
    p_hold_seconds double precision
)
returns table (symbols integer, started_at timestamptz)
language plpgsql
volatile
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    v_move migration_phases_v2;
    v_symbols integer;
    v_started_at timestamptz;
begin
    if p_hold_seconds is null or p_hold_seconds not between 0 and 86400 then
        raise exception 'p_hold_seconds must be from 0 to 86400' using errcode = 'invalid_parameter_value';
    end if;
    -- What lies outside the database was paused under phase pausing: if that is over, somebody has gone back meanwhile.
    v_move := lock_move_v2(p_data_type, case
        when jsonb_array_length(p_old_jobs) > (select count(*) from old_cron_jobs_v2(p_old_jobs)) then array['pausing']
        else array['old', 'pausing', 'rolled_back'] end);
    if v_move.phase = 'pausing' then
        p_old_jobs := all_old_jobs_v2(v_move.old_jobs, p_old_jobs);
    end if;
    perform change_cron_jobs_v2(p_old_jobs, 'pause');
    v_symbols := take_over_state_v2(p_data_type);

    v_started_at := clock_timestamp();
    insert into migration_phases_v2 as m (data_type, phase, started_at, held_until, baseline, old_jobs, symbols_at_start)
    values (
        p_data_type, 'watched', v_started_at, v_started_at + make_interval(secs => p_hold_seconds),
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
    return query select v_symbols, v_started_at;
end
$$;
comment on function begin_move_v2 is
    'Moves a data type over in one transaction: pauses its old jobs, takes over what their table knows, turns its flag on, and holds it for p_hold_seconds, while a run of an old job may still go on. Returns the number of symbols taken over, and when it began.';
revoke all on function begin_move_v2 from public;
