create or replace function announce_limits_v2(
    p_upstream text,
    p_instance text,
    p_calls_per_minute integer,
    p_bytes_per_30_days bigint,
    p_first_view_share double precision default 0.1,
    p_price_step double precision default 0.15
)
returns boolean
language plpgsql
volatile
set search_path = public, pg_temp
as $$
begin
    if not exists (select from upstreams_v2 u where u.upstream = p_upstream) then
        raise exception 'unknown upstream %', coalesce(p_upstream, 'NULL') using errcode = 'invalid_parameter_value';
    end if;
    if octet_length(p_instance) > 300 then
        raise exception 'p_instance has % bytes, 300 are enough', octet_length(p_instance)
            using errcode = 'invalid_parameter_value';
    end if;
    insert into upstream_limits_v2 as l (
        upstream, instance, calls_per_minute, bytes_per_30_days, first_view_share, price_step
    )
    values (
        p_upstream, p_instance, p_calls_per_minute, p_bytes_per_30_days, p_first_view_share, p_price_step
    )
    on conflict (upstream, instance) do update
    set calls_per_minute = excluded.calls_per_minute,
        bytes_per_30_days = excluded.bytes_per_30_days,
        first_view_share = excluded.first_view_share,
        price_step = excluded.price_step,
        seen_at = now();
    delete from upstream_limits_v2 where seen_at < now() - interval '1 day';
    return (select f.differ from upstream_limits_in_force_v2 f where f.upstream = p_upstream);
end
$$;
comment on function announce_limits_v2 is
    'Writes the limits and the policy that an instance was configured with and says that it lives. Returns whether live instances differ: the least holds.';
revoke all on function announce_limits_v2 from public;
grant execute on function announce_limits_v2 to refreshd_daemon;
