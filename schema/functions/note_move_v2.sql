create or replace function note_move_v2(p_data_type text, p_step text, p_who text, p_why text, p_detail jsonb default '{}')
returns void
language sql
volatile
set search_path = public, pg_temp
as $$
    insert into migration_journal_v2 (who, data_type, step, why, detail)
    values (coalesce(p_who, session_user), p_data_type, p_step, nullif(p_why, ''), coalesce(p_detail, '{}'))
$$;
comment on function note_move_v2 is 'Writes one step of the migration into its journal.';
revoke all on function note_move_v2 from public;
