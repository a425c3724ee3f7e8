create or replace function hold_move_v2(p_data_type text, p_seconds double precision)
returns void
language sql
volatile
set search_path = public, pg_temp
as $$
    update migration_phases_v2 m
    set held_until = clock_timestamp() + make_interval(secs => p_seconds)
    where m.data_type = p_data_type and m.phase = 'watched'
$$;
comment on function hold_move_v2 is 'Holds a moved type for so long from now on, as a run of its old job still goes on.';
revoke all on function hold_move_v2 from public;
