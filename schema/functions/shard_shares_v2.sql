create or replace function shard_shares_v2(p_holder text, p_shards text[])
returns table (kind text, share integer)
language sql
stable
set search_path = public, pg_temp
as $$
    with live as (
        select b.holder from listeners_v2 b where b.expires_at > clock_timestamp()
    ),
    kinds as (
        select split_part(l.name, ':', 1) as kind, count(*) as shards, greatest((select count(*) from live), 1) as listeners
        from leases_v2 l
        where l.name = any (p_shards)
        group by 1
    )
    select
        k.kind,
        (
            k.shards / k.listeners
            + case
                when k.shards % k.listeners > 0 and not exists (
                    select
                    from live o
                    where o.holder is distinct from p_holder
                      and (
                          select count(*)
                          from leases_v2 l
                          where l.name = any (p_shards) and split_part(l.name, ':', 1) = k.kind
                            and l.holder = o.holder and l.expires_at > clock_timestamp()
                      ) < k.shards / k.listeners
                ) then 1
                else 0
            end
        )::integer
    from kinds k
$$;
comment on function shard_shares_v2 is
    'How many shards of each kind (the part of the name before the colon) a listener may hold: all of them divided by the listeners alive, rounded down while another has less than that, rounded up otherwise. So nobody goes without, and nothing moves that need not.';
revoke all on function shard_shares_v2 from public;
grant execute on function shard_shares_v2 to refreshd_daemon;
