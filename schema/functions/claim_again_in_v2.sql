create or replace function claim_again_in_v2(p_fetchers text[] default null)
returns double precision
language plpgsql
volatile
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
as $$
declare
    v_types text[];
    v_ready_at timestamptz;
    v_seconds double precision;
begin
    select array_agg(r.data_type) into v_types
    from enabled_data_types_v2 r
    where p_fetchers is null or r.edge_function_name = any (p_fetchers);

    if not exists (
        select from api_call_queue_v2_pending p where p.data_type = any (v_types) and p.not_before <= clock_timestamp()
    ) then
        select min(p.not_before) into v_ready_at from api_call_queue_v2_pending p where p.data_type = any (v_types);
        return extract(epoch from v_ready_at - clock_timestamp());
    end if;

    -- Something could be claimed, were it not for one of these.
    select min(greatest(
        extract(epoch from u.paused_until - clock_timestamp()),
        case when u.breaker_state <> 'closed'
             then extract(epoch from greatest(u.breaker_open_until, u.probe_expires_at) - clock_timestamp()) end,
        case when l.calls_per_minute <= b.calls_in_window
             then extract(epoch from b.oldest_call_at + interval '62 seconds' - clock_timestamp())
             when b.calls_lately > 0
             then extract(epoch from b.oldest_lately_at + interval '6.2 seconds' - clock_timestamp()) end,
        0.05
    )) into v_seconds
    from upstreams_v2 u
    join upstream_limits_in_force_v2 l on l.upstream = u.upstream
    cross join lateral upstream_usage_v2(u.upstream) b;
    return v_seconds;
end
$$;
comment on function claim_again_in_v2 is
    'After a claim that brought nothing: in how many seconds another one can bring something, as far as that is known. NULL where nothing waits, or no limits are announced.';
revoke all on function claim_again_in_v2 from public;
grant execute on function claim_again_in_v2 to refreshd_daemon;
