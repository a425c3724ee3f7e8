create or replace function is_data_stale_v2(p_fetched_at timestamptz, p_ttl_minutes integer)
returns boolean
language plpgsql
stable
set search_path = public, pg_temp
as $$
begin
    if p_ttl_minutes is null or p_ttl_minutes <= 0 then
        raise exception 'a TTL of % minutes is no TTL: give one above 0, there is no default', coalesce(p_ttl_minutes::text, 'NULL')
            using errcode = 'invalid_parameter_value';
    end if;
    return p_fetched_at is null or p_fetched_at < now() - make_interval(mins => p_ttl_minutes);
end
$$;
comment on function is_data_stale_v2 is 'Whether data of that age is past its TTL. NULL is stale; exactly TTL old is fresh; a missing TTL raises.';
revoke all on function is_data_stale_v2 from public;
grant execute on function is_data_stale_v2 to refreshd_daemon;
