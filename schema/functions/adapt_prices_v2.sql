create or replace function adapt_prices_v2()
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_adapted integer;
begin
    -- Each as its share of what may be spent in one window of 62 s; a burst beyond four times that says no more than four.
    with shares as (
        select
            l.upstream,
            l.price_step,
            sum(a.calls) / l.calls_per_minute::double precision as calls,
            sum(a.bytes) / (l.bytes_per_30_days * 0.95 * 62 / 2592000.0)::double precision as bytes
        from upstream_limits_in_force_v2 l
        cross join lateral (
            select coalesce(sum(d.calls), 0) as calls, coalesce(sum(d.bytes), 0) as bytes
            from api_data_usage_v2 d
            where d.upstream = l.upstream and not d.rolled_up and d.reserved_at > clock_timestamp() - interval '62 seconds'
        ) a
        group by l.upstream, l.price_step, l.calls_per_minute, l.bytes_per_30_days
    ),
    moved as (
        select
            u.upstream,
            u.price_calls * exp(s.price_step * least(s.calls, 4)) as calls,
            u.price_bytes * exp(s.price_step * least(s.bytes, 4)) as bytes
        from upstreams_v2 u
        join shares s on s.upstream = u.upstream
        where u.prices_adapted_at <= clock_timestamp() - interval '30 seconds'
    )
    -- Only their ratio matters: the dearer of the two is always 1, and the other one never more than 10,000 times cheaper.
    update upstreams_v2 u
    set price_calls = greatest(m.calls / greatest(m.calls, m.bytes), 1e-4),
        price_bytes = greatest(m.bytes / greatest(m.calls, m.bytes), 1e-4),
        prices_adapted_at = clock_timestamp()
    from moved m
    where u.upstream = m.upstream;
    get diagnostics v_adapted = row_count;
    return v_adapted;
end
$$;
comment on function adapt_prices_v2 is
    'Moves the ratio of the prices of calls and bytes towards what is scarce, every 30 s: by exp(step x (share of the calls used - share of the bytes used)), with a step of 0.15. The dearer price is 1, the other one at least 1e-4. Returns how many upstreams it repriced.';
revoke all on function adapt_prices_v2 from public;
grant execute on function adapt_prices_v2 to refreshd_daemon;
