create or replace function follow_registry_row_v2()
returns trigger
language plpgsql
volatile
set search_path = public, pg_temp
as $$
begin
    if tg_op = 'DELETE' then
        delete from refresh_state_v2 s where s.data_type = old.data_type;
        delete from api_call_queue_v2_pending q where q.data_type = old.data_type;
        return null;
    end if;
    insert into data_type_state_v2 (data_type) values (new.data_type) on conflict do nothing;
    insert into feature_flags (flag_name)
    select 'migrate_' || replace(new.data_type, '-', '_') || '_type'
    where not is_moved_for_good_v2(new.data_type)
    on conflict do nothing;
    if tg_op = 'UPDATE'
       and (new.refresh_schedule, new.refresh_strategy) is distinct from (old.refresh_schedule, old.refresh_strategy) then
        update data_type_state_v2 t
        set next_scheduled_at = null, schedule_cursor = null
        where t.data_type = new.data_type;
    end if;
    return null;
end
$$;
comment on function follow_registry_row_v2 is
    'Gives a new data type its state row and its flag (off), so that adding one is one INSERT; has a changed schedule computed anew; forgets the pairs and pending jobs of a type that is deleted.';
revoke all on function follow_registry_row_v2 from public;
grant execute on function follow_registry_row_v2 to refreshd_daemon;
