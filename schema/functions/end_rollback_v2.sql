create or replace function end_rollback_v2(p_data_type text, p_who text)
returns void
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_move migration_phases_v2 := lock_move_v2(p_data_type, array['resuming', 'rolled_back']);
begin
    if v_move.phase = 'resuming' then
        update migration_phases_v2 m set phase = 'rolled_back', since = clock_timestamp() where m.data_type = p_data_type;
        perform note_move_v2(p_data_type, 'rolled back', p_who, null);
    end if;
end
$$;
comment on function end_rollback_v2 is
    'Last step back, where old jobs are resumed outside the database: says that they are. Safe to repeat.';
revoke all on function end_rollback_v2 from public;
