create or replace function check_and_queue_stale_data_from_presence_v2()
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
set enable_nestloop = off
as $$
declare
    v_symbols text[];
    v_types text[];
    v_viewers integer[];
    v_created integer := 0;
begin
    if not pg_try_advisory_xact_lock(42) then
        return 0;
    end if;

    delete from active_subscriptions_v2 where last_seen_at < now() - interval '5 minutes';

    select array_agg(v.symbol), array_agg(v.data_type), array_agg(v.viewers)
    into v_symbols, v_types, v_viewers
    from viewers_v2 v
    left join refresh_state_v2 s on s.symbol = v.symbol and s.data_type = v.data_type
    where (s.next_due_at is null or s.next_due_at <= now())
      and not exists (select from api_call_queue_v2_pending q where q.id = s.open_job_id)
      and not exists (select from api_call_queue_v2_processing q where q.id = s.open_job_id);
    if v_symbols is not null then
        v_created := check_and_queue_stale_pairs_v2(v_symbols, v_types, v_viewers, null);
    end if;

    -- The housekeeping holds locks already and therefore waits for none. It looks for pairs unlocked (jobs that nobody views
    -- any more; open jobs that are gone without an end, which would block their pair for ever), then again under the locks.
    with idle as (
        select q.symbol, q.data_type
        from api_call_queue_v2_pending q
        where q.priority >= 0
          and q.created_at < now() - interval '5 minutes'
          and not exists (
              select from active_subscriptions_v2 a where a.symbol = q.symbol and a.data_type = q.data_type
          )
        limit 5000
    ),
    gone as (
        select s.symbol, s.data_type
        from refresh_state_v2 s
        where s.open_job_id is not null
          and not exists (select from api_call_queue_v2_pending q where q.id = s.open_job_id)
          and not exists (select from api_call_queue_v2_processing q where q.id = s.open_job_id)
        limit 5000
    ),
    locked as (
        select s.symbol, s.data_type
        from refresh_state_v2 s
        join (select * from idle union select * from gone) u on u.symbol = s.symbol and u.data_type = s.data_type
        order by s.symbol, s.data_type
        for update of s skip locked
    )
    select array_agg(l.symbol), array_agg(l.data_type) into v_symbols, v_types from locked l;

    delete from api_call_queue_v2_pending q
    using unnest(v_symbols, v_types) as l (symbol, data_type)
    where q.symbol = l.symbol and q.data_type = l.data_type
      and q.priority >= 0
      and q.created_at < now() - interval '5 minutes'
      and not exists (select from active_subscriptions_v2 a where a.symbol = q.symbol and a.data_type = q.data_type);

    update refresh_state_v2 s
    set open_job_id = null
    from unnest(v_symbols, v_types) as l (symbol, data_type)
    where s.symbol = l.symbol and s.data_type = l.data_type
      and s.open_job_id is not null
      and not exists (select from api_call_queue_v2_pending q where q.id = s.open_job_id)
      and not exists (select from api_call_queue_v2_processing q where q.id = s.open_job_id);
    return v_created;
end
$$;
comment on function check_and_queue_stale_data_from_presence_v2 is
    'The sweep behind the events, single-flight by lock 42: queues every viewed pair that is due, drops subscriptions nobody vouched for in 5 minutes and viewed jobs older than that which nobody views any more (at most 5,000 a turn), frees pairs whose open job is gone. Returns the number of new jobs.';
revoke all on function check_and_queue_stale_data_from_presence_v2 from public;
grant execute on function check_and_queue_stale_data_from_presence_v2 to refreshd_daemon;
