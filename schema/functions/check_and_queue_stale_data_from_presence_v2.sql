create or replace function check_and_queue_stale_data_from_presence_v2()
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_symbols text[];
    v_types text[];
    v_viewers integer[];
begin
    if not pg_try_advisory_xact_lock(42) then
        return 0;
    end if;

    -- A job that is gone without an end would block its pair for ever. Looked for unlocked, then checked again under the
    -- locks: a pair whose job has just been replaced must not lose the new one.
    select array_agg(s.symbol), array_agg(s.data_type)
    into v_symbols, v_types
    from refresh_state_v2 s
    where s.open_job_id is not null
      and not exists (select from api_call_queue_v2_pending q where q.id = s.open_job_id)
      and not exists (select from api_call_queue_v2_processing q where q.id = s.open_job_id);
    if v_symbols is not null then
        perform
        from refresh_state_v2 s
        join unnest(v_symbols, v_types) as i (symbol, data_type) using (symbol, data_type)
        order by s.symbol, s.data_type
        for update of s;

        update refresh_state_v2 s
        set open_job_id = null
        from unnest(v_symbols, v_types) as i (symbol, data_type)
        where s.symbol = i.symbol and s.data_type = i.data_type
          and not exists (select from api_call_queue_v2_pending q where q.id = s.open_job_id)
          and not exists (select from api_call_queue_v2_processing q where q.id = s.open_job_id);
    end if;

    delete from active_subscriptions_v2 where last_seen_at < now() - interval '5 minutes';

    select array_agg(v.symbol), array_agg(v.data_type), array_agg(v.viewers)
    into v_symbols, v_types, v_viewers
    from viewers_v2 v
    left join refresh_state_v2 s on s.symbol = v.symbol and s.data_type = v.data_type
    where s.open_job_id is null and (s.next_due_at is null or s.next_due_at <= now());
    return case when v_symbols is null then 0 else check_and_queue_stale_pairs_v2(v_symbols, v_types, v_viewers, null) end;
end
$$;
comment on function check_and_queue_stale_data_from_presence_v2 is
    'The sweep behind the events, single-flight by lock 42: queues every viewed pair that is due, drops subscriptions nobody vouched for in 5 minutes, frees pairs whose open job is gone. Returns the number of new jobs.';
revoke all on function check_and_queue_stale_data_from_presence_v2 from public;
grant execute on function check_and_queue_stale_data_from_presence_v2 to refreshd_daemon;
