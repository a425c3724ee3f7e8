create or replace function lock_move_v2(p_data_type text, p_from text[])
returns migration_phases_v2
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_move migration_phases_v2;
    v_last text;
begin
    perform pg_advisory_xact_lock(46);
    if not exists (select from data_type_registry_v2 r where r.data_type = p_data_type) then
        raise exception 'there is no data type %', coalesce(p_data_type, 'NULL') using errcode = 'invalid_parameter_value';
    end if;
    if (select n.suffix = '' from refreshd_names n) then
        raise exception 'the migration is finalized: nothing moves any more'
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    select * into v_move from migration_phases_v2 m where m.data_type = p_data_type;
    if coalesce(v_move.phase, 'old') <> all (p_from) then
        select format(' (%s, by %s at %s)', j.step, j.who, to_char(j.at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'))
        into v_last
        from migration_journal_v2 j
        where j.data_type = p_data_type
        order by j.id desc
        limit 1;
        raise exception '%', format('%s is in phase %s%s; that goes from %s only', p_data_type,
            replace(coalesce(v_move.phase, 'old'), '_', ' '), coalesce(v_last, ''),
            replace(array_to_string(p_from, ' or '), '_', ' '))
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return v_move;
end
$$;
comment on function lock_move_v2 is
    'Begins a step of the migration: one step at a time (lock 46), whoever takes it, and only from one of the phases in p_from (old: not begun). Returns the row of the type.';
revoke all on function lock_move_v2 from public;
