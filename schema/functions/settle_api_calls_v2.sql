create or replace function settle_api_calls_v2(p_ids bigint[], p_calls integer[], p_bytes bigint[])
returns void
language sql
volatile
set search_path = public, pg_temp
as $$
    with input as (
        select i.id, least(greatest(i.calls, 0), 1000) as calls, least(greatest(i.bytes, 0), 1099511627776) as bytes
        from unnest(p_ids, p_calls, p_bytes) as i (id, calls, bytes)
        where i.id is not null and i.calls is not null and i.bytes is not null
    ),
    before as (
        select u.id, u.upstream, u.calls, u.bytes, u.rolled_up, date_trunc('hour', u.reserved_at) as hour
        from api_data_usage_v2 u
        join input i using (id)
        where u.settled_at is null
        order by u.id
        for update of u
    ),
    settled as (
        update api_data_usage_v2 u
        set calls = i.calls, bytes = i.bytes, settled_at = clock_timestamp()
        from before b
        join input i using (id)
        where u.id = b.id
        returning b.upstream, b.hour, b.rolled_up, i.calls - b.calls as more_calls, i.bytes - b.bytes as more_bytes
    )
    insert into api_usage_hours_v2 as h (upstream, hour, calls, bytes)
    select s.upstream, s.hour, sum(s.more_calls), sum(s.more_bytes)
    from settled s
    where s.rolled_up
    group by s.upstream, s.hour
    order by s.upstream, s.hour
    on conflict (upstream, hour) do update set calls = h.calls + excluded.calls, bytes = h.bytes + excluded.bytes
$$;
comment on function settle_api_calls_v2 is
    'Replaces reservations by what was really spent (0 to 1,000 calls, 0 to 1 TiB), once; 0 calls gives an unsent one back. One that was rolled up as spent corrects its hour.';
revoke all on function settle_api_calls_v2 from public;
grant execute on function settle_api_calls_v2 to refreshd_daemon;
