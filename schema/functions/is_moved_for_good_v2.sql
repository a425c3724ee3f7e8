create or replace function is_moved_for_good_v2(p_data_type text)
returns boolean
language sql
stable
set search_path = public, pg_temp
as $$
    select exists (select from refreshd_names n where n.suffix = '')
       and exists (select from migration_phases_v2 m where m.data_type = p_data_type and m.phase = 'finished')
$$;
comment on function is_moved_for_good_v2 is
    'Whether a data type was moved before the migration was finalized: it is on without a flag, and is not given one again.';
revoke all on function is_moved_for_good_v2 from public;
grant execute on function is_moved_for_good_v2 to refreshd_daemon;
