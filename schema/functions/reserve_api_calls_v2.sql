create or replace function reserve_api_calls_v2(
    p_upstream text,
    p_calls integer,
    p_bytes bigint,
    p_holder text,
    out ids bigint[],
    out refused_by text,
    out retry_after_seconds double precision
)
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_upstream upstreams_v2;
    v_limits upstream_limits_in_force_v2;
    v_usage record;
begin
    if p_calls is null or p_calls < 1 or p_bytes is null or p_bytes < 0 then
        raise exception 'a reservation needs at least one call and no negative bytes, not % and %', p_calls, p_bytes
            using errcode = 'invalid_parameter_value';
    end if;
    ids := '{}';
    select * into v_upstream from upstreams_v2 u where u.upstream = p_upstream for update;
    if not found then
        raise exception 'unknown upstream %', coalesce(p_upstream, 'NULL') using errcode = 'invalid_parameter_value';
    end if;

    -- Later statements see what the holders of the lock before us have committed.
    select * into v_limits from upstream_limits_in_force_v2 l where l.upstream = p_upstream;
    select * into v_usage from upstream_usage_v2(p_upstream);
    if v_limits.upstream is null then
        refused_by := 'no_limits';
        retry_after_seconds := 5;
    elsif v_upstream.paused_until > clock_timestamp() then
        refused_by := 'paused';
        retry_after_seconds := extract(epoch from v_upstream.paused_until - clock_timestamp());
    elsif v_usage.calls_in_window + p_calls > v_limits.calls_per_minute then
        refused_by := 'calls';
        retry_after_seconds := greatest(0.05, coalesce(
            extract(epoch from v_usage.oldest_call_at + interval '62 seconds' - clock_timestamp()), 1));
    elsif p_bytes > v_limits.bytes_per_30_days * 0.95 - v_usage.bytes_in_30_days then
        refused_by := 'bytes';
        retry_after_seconds := 60;
    else
        with reserved as (
            insert into api_data_usage_v2 (upstream, holder, calls, bytes)
            select p_upstream, p_holder, 1, p_bytes / p_calls from generate_series(1, p_calls)
            returning id
        )
        select array_agg(id) into ids from reserved;
    end if;
end
$$;
comment on function reserve_api_calls_v2 is
    'Money before effect: reserves calls and bytes of both budgets under one lock. Returns one id per call, or none with what refused it (no_limits, paused, calls, bytes) and when to ask again.';
revoke all on function reserve_api_calls_v2 from public;
grant execute on function reserve_api_calls_v2 to refreshd_daemon;
