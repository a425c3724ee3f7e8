create or replace function adapt_prices_v2()
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_adapted integer;
begin
    -- Both budgets as their share of one window of 62 s; a burst beyond four times the share says no more than that.
    update upstreams_v2 u
    set price_calls = least(greatest(u.price_calls * exp(0.15 * (least(f.calls_share, 4) - 0.98)), 1e-4), 1e4),
        price_bytes = least(greatest(u.price_bytes * exp(0.15 * (least(f.bytes_share, 4) - 0.98)), 1e-4), 1e4),
        prices_adapted_at = clock_timestamp()
    from (
        select
            l.upstream,
            sum(a.calls) / (l.calls_per_minute * 62.0 / 60)::double precision as calls_share,
            sum(a.bytes) / (l.bytes_per_30_days * 62.0 / 2592000)::double precision as bytes_share
        from upstream_limits_in_force_v2 l
        cross join lateral (
            select coalesce(sum(d.calls), 0) as calls, coalesce(sum(d.bytes), 0) as bytes
            from api_data_usage_v2 d
            where d.upstream = l.upstream and not d.rolled_up and d.reserved_at > clock_timestamp() - interval '62 seconds'
        ) a
        group by l.upstream, l.calls_per_minute, l.bytes_per_30_days
    ) f
    where u.upstream = f.upstream and u.prices_adapted_at <= clock_timestamp() - interval '30 seconds';
    get diagnostics v_adapted = row_count;
    return v_adapted;
end
$$;
comment on function adapt_prices_v2 is
    'Moves the prices of calls and bytes towards using 98 % of each budget: price x exp(0.15 x (used / budget - 0.98)), every 30 s, within 1e-4 and 1e4. Returns how many upstreams it repriced.';
revoke all on function adapt_prices_v2 from public;
grant execute on function adapt_prices_v2 to refreshd_daemon;
