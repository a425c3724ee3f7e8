create or replace function hold_move_v2(p_data_type text, p_seconds double precision, p_started_at timestamptz)
returns void
language plpgsql
volatile
set search_path = public, pg_temp
as $$
begin
    if p_seconds is null or p_seconds not between 0 and 86400 then
        raise exception 'p_seconds must be from 0 to 86400' using errcode = 'invalid_parameter_value';
    end if;
    update migration_phases_v2 m
    set held_until = clock_timestamp() + make_interval(secs => p_seconds)
    where m.data_type = p_data_type and m.phase = 'watched' and m.started_at = p_started_at;
    if found and p_seconds = 0 then
        perform take_over_state_v2(p_data_type); -- a run of the old job may have fetched something meanwhile
    end if;
end
$$;
comment on function hold_move_v2 is 'Holds a moved type for so long from now on, as a run of its old job still goes on; only that move of it that began at p_started_at. With 0 it is let go, and what the old job has fetched meanwhile is taken over.';
revoke all on function hold_move_v2 from public;
