create or replace function touch_subscriptions_v2(p_holder text, p_shards text[], p_sources text[])
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_touched integer;
begin
    with ours as (
        select distinct i.source
        from unnest(p_shards, p_sources) as i (shard, source)
        where not exists (
            select from leases_v2 l
            where l.name = i.shard and l.holder is distinct from p_holder and l.expires_at > clock_timestamp()
        )
    ),
    stale as (
        select a.symbol, a.data_type, a.user_id, a.source
        from active_subscriptions_v2 a
        where a.source in (select o.source from ours o) and a.last_seen_at < now() - interval '30 seconds'
        order by a.symbol, a.data_type, a.user_id, a.source
        for update skip locked
    )
    update active_subscriptions_v2 a
    set last_seen_at = now()
    from stale s
    where a.symbol = s.symbol and a.data_type = s.data_type and a.user_id = s.user_id and a.source = s.source;
    get diagnostics v_touched = row_count;
    return v_touched;
end
$$;
comment on function touch_subscriptions_v2 is
    'Vouches for all rows of live sources, as far as their shards (p_shards, one each) do not belong to another listener by now. Returns how many rows were due for it.';
revoke all on function touch_subscriptions_v2 from public;
grant execute on function touch_subscriptions_v2 to refreshd_daemon;
