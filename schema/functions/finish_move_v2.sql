create or replace function finish_move_v2(p_data_type text, p_who text, p_why text, p_checks jsonb)
returns void
language plpgsql
volatile
set search_path = public, pg_temp
as $$
begin
    perform lock_move_v2(p_data_type, array['watched']);
    update migration_phases_v2 m
    set phase = 'finished', since = clock_timestamp(), checks = p_checks, checked_at = clock_timestamp()
    where m.data_type = p_data_type;
    perform note_move_v2(p_data_type, 'finished', p_who, p_why, jsonb_build_object('checks', p_checks));
end
$$;
comment on function finish_move_v2 is 'Ends the watch over a moved type, whose old jobs stay paused until the end.';
revoke all on function finish_move_v2 from public;
