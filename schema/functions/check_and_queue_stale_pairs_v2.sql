create or replace function check_and_queue_stale_pairs_v2(
    p_symbols text[],
    p_data_types text[],
    p_viewers integer[],
    p_gains double precision[] default null
)
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_symbols text[];
    v_types text[];
    v_viewers integer[];
    v_gains double precision[];
begin
    with affordable as materialized (
        select l.upstream
        from upstream_limits_in_force_v2 l
        cross join lateral upstream_usage_v2(l.upstream) u
        where u.bytes_in_30_days < l.bytes_per_30_days * 0.95
    ),
    allowed as materialized (
        select r.data_type from enabled_data_types_v2 r join affordable a on a.upstream = r.upstream
    )
    select array_agg(i.symbol), array_agg(i.data_type), array_agg(i.viewers), array_agg(i.gain)
    into v_symbols, v_types, v_viewers, v_gains
    from unnest(p_symbols, p_data_types, p_viewers, p_gains) as i (symbol, data_type, viewers, gain)
    where i.viewers >= 0 and i.data_type in (select a.data_type from allowed a);
    if v_symbols is null then
        return 0;
    end if;

    perform seed_refresh_state_v2(v_symbols, v_types);

    select array_agg(w.symbol), array_agg(w.data_type), array_agg(w.viewers), array_agg(w.gain)
    into v_symbols, v_types, v_viewers, v_gains
    from unnest(v_symbols, v_types, v_viewers, v_gains) as w (symbol, data_type, viewers, gain)
    left join refresh_state_v2 s on s.symbol = w.symbol and s.data_type = w.data_type
    where s.next_due_at is null or s.next_due_at <= clock_timestamp();
    if v_symbols is null then
        return 0;
    end if;
    return (
        select count(*) filter (where q.created)
        from open_jobs_v2(v_symbols, v_types, v_viewers, v_gains) q
    );
end
$$;
comment on function check_and_queue_stale_pairs_v2 is
    'Queues those of the pairs that are due, in one call. Pairs that are unknown, switched off, or of an upstream without quota or limits are left out. Returns the number of new jobs.';
revoke all on function check_and_queue_stale_pairs_v2 from public;
grant execute on function check_and_queue_stale_pairs_v2 to refreshd_daemon;
