create or replace function is_quota_exceeded_v2(p_upstream text default 'fmp')
returns boolean
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_limit bigint;
begin
    select l.bytes_per_30_days into v_limit from upstream_limits_in_force_v2 l where l.upstream = p_upstream;
    if v_limit is null then
        raise exception 'no limit is in force for upstream %: a running daemon writes it from REFRESHD_BYTES_PER_30_DAYS', coalesce(p_upstream, 'NULL')
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    return (select u.bytes_in_30_days >= v_limit * 0.95 from upstream_usage_v2(p_upstream) u);
end
$$;
comment on function is_quota_exceeded_v2 is 'Whether 95 % of the bytes of rolling 30 days are spent, open reservations included. A missing limit raises: it never means "no limit".';
revoke all on function is_quota_exceeded_v2 from public;
grant execute on function is_quota_exceeded_v2 to refreshd_daemon;
