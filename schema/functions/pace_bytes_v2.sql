create or replace function pace_bytes_v2()
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_paced integer;
begin
    -- A bucket that is filled evenly with 95 % of the limit in 30 days and holds what a day brings. Its level follows
    -- from the history alone: no stretch of time may have used more than a bucket and what it was filled with meanwhile.
    with plan as (
        select l.upstream, l.bytes_per_30_days * 0.95 / 30 as a_day
        from upstream_limits_in_force_v2 l
    ),
    spent as (
        select h.upstream, h.hour as since, h.bytes
        from api_usage_hours_v2 h
        where h.hour > now() - interval '30 days 1 hour'
        union all
        select p.upstream, now(), coalesce(sum(u.bytes), 0)::bigint
        from plan p
        left join api_data_usage_v2 u on u.upstream = p.upstream and not u.rolled_up
        group by p.upstream
    ),
    stretches as (
        select s.upstream, s.since, sum(s.bytes) over (partition by s.upstream order by s.since desc) as bytes
        from spent s
    ),
    levels as (
        select
            p.upstream,
            p.a_day,
            p.a_day + least(0, min(p.a_day * extract(epoch from now() - s.since) / 86400 - s.bytes)) as level,
            max(s.bytes) as used
        from plan p
        join stretches s on s.upstream = p.upstream
        group by p.upstream, p.a_day
    )
    update upstreams_v2 u
    set bytes_ceiling = v.used + v.level + v.a_day * 10 / 86400
    from levels v
    where u.upstream = v.upstream
      and u.bytes_ceiling is distinct from (v.used + v.level + v.a_day * 10 / 86400)::bigint;
    get diagnostics v_paced = row_count;
    return v_paced;
end
$$;
comment on function pace_bytes_v2 is
    'Sets how far bytes may be spent until the next turn (10 s ahead): a bucket filled with 95 % of the limit evenly over 30 days, which holds a day of it. Returns how many upstreams it changed.';
revoke all on function pace_bytes_v2 from public;
grant execute on function pace_bytes_v2 to refreshd_daemon;
