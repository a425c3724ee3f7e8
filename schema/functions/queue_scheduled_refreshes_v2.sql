create or replace function queue_scheduled_refreshes_v2()
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_room integer;
    v_type record;
    v_share integer;
    v_created integer := 0;
    v_added integer;
begin
    if not pg_try_advisory_xact_lock(43) then
        return 0;
    end if;
    -- Fewer than 1,000 pending jobs, what is added here included.
    select 999 - count(*) into v_room from (select from api_call_queue_v2_pending limit 999) p;

    for v_type in
        select r.data_type, row_number() over (order by t.next_scheduled_at desc, r.data_type desc) as types_left
        from enabled_data_types_v2 r
        join data_type_state_v2 t on t.data_type = r.data_type
        join upstream_limits_in_force_v2 l on l.upstream = r.upstream
        cross join lateral upstream_usage_v2(r.upstream) u
        where r.refresh_strategy = 'scheduled'
          and t.next_scheduled_at <= now()
          and u.bytes_in_30_days < l.bytes_per_30_days * 0.95
        order by t.next_scheduled_at, r.data_type
    loop
        v_share := ceil(v_room / v_type.types_left::numeric);
        exit when v_share <= 0;
        v_added := continue_scheduled_round_v2(v_type.data_type, v_share);
        v_room := v_room - v_added;
        v_created := v_created + v_added;
    end loop;
    return v_created;
end
$$;
comment on function queue_scheduled_refreshes_v2 is
    'Goes on with the round of every type whose schedule has fired, single-flight by lock 43 and only while fewer than 1,000 jobs are pending, the room being shared by the types. Returns the number of new jobs, all of priority -1.';
revoke all on function queue_scheduled_refreshes_v2 from public;
grant execute on function queue_scheduled_refreshes_v2 to refreshd_daemon;
