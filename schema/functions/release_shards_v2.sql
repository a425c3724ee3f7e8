create or replace function release_shards_v2(p_holder text, p_shards text[] default null)
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_released integer;
begin
    perform from leases_v2 l
    where l.holder = p_holder and (p_shards is null or l.name = any (p_shards))
    order by l.name
    for update;
    update leases_v2 l
    set expires_at = '-infinity'
    where l.holder = p_holder and l.expires_at > '-infinity' and (p_shards is null or l.name = any (p_shards));
    get diagnostics v_released = row_count;
    if p_shards is null then
        delete from listeners_v2 b where b.holder = p_holder;
    end if;
    return v_released;
end
$$;
comment on function release_shards_v2 is
    'Hands shards over at once: anybody may take them. Without p_shards it is a farewell: all of them, and the listener itself. Returns how many were held.';
revoke all on function release_shards_v2 from public;
grant execute on function release_shards_v2 to refreshd_daemon;
