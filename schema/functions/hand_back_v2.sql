create or replace function hand_back_v2(p_data_type text, p_who text, p_is_resumed_outside boolean)
returns table (stamped_rows bigint, not_resumed text[], problem text)
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_move migration_phases_v2;
    v_rows bigint;
    v_left text[];
    v_problem text;
begin
    v_move := lock_move_v2(p_data_type, array['rolling_back', 'resuming', 'rolled_back']);
    if v_move.phase <> 'rolling_back' then
        -- Another operator was as quick, or this one was interrupted: what is known is told again.
        return query
        select (j.detail ->> 'stamped_rows')::bigint,
               array(select jsonb_array_elements_text(coalesce(j.detail -> 'not_resumed', '[]'))),
               j.detail ->> 'problem'
        from migration_journal_v2 j
        where j.data_type = p_data_type and j.detail ? 'stamped_rows'
        order by j.id desc
        limit 1;
        return;
    end if;
    perform withdraw_jobs_v2(p_data_type); -- what came back from a worker that is gone
    if exists (select from api_call_queue_v2_processing q where q.data_type = p_data_type) then
        raise exception 'jobs of % are still under way', p_data_type using errcode = 'object_in_use';
    end if;
    -- Without stamps the old system fetches more than it must. Without its job nobody fetches anything.
    begin
        v_rows := hand_back_rows_v2(p_data_type);
    exception
        when others then
            if sqlstate ~ '^(40|53|55P03|57|58|XX)' then
                raise; -- the server's trouble, not the table's
            end if;
            v_problem := sqlerrm;
    end;
    v_left := change_cron_jobs_v2(v_move.old_jobs, 'resume');
    update migration_phases_v2 m
    set phase = case when p_is_resumed_outside then 'resuming' else 'rolled_back' end, since = clock_timestamp()
    where m.data_type = p_data_type;
    perform note_move_v2(p_data_type, case when p_is_resumed_outside then 'handed back' else 'rolled back' end, p_who,
        null, jsonb_build_object(
            'stamped_rows', coalesce(v_rows, 0), 'not_resumed', v_left, 'problem', v_problem));
    return query select coalesce(v_rows, 0), v_left, v_problem;
end
$$;
comment on function hand_back_v2 is
    'Second step back, when nothing of the type is under way any more, in one transaction: stamps the data table with what was checked and resumes pg_cron''s jobs. Returns the number of stamped rows, the names of jobs that are gone or another login''s, and why rows could not be stamped. Safe to repeat.';
revoke all on function hand_back_v2 from public;
