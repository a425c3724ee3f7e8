create or replace function roll_up_usage_v2()
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_rows integer;
begin
    with rolled as (
        update api_data_usage_v2 u
        set rolled_up = true
        where not u.rolled_up
          and u.reserved_at < clock_timestamp() - interval '2 minutes'
          and (u.settled_at is not null or u.reserved_at < clock_timestamp() - interval '15 minutes')
        returning u.upstream, date_trunc('hour', u.reserved_at) as hour, u.calls, u.bytes
    ),
    added as (
        insert into api_usage_hours_v2 as h (upstream, hour, calls, bytes)
        select r.upstream, r.hour, sum(r.calls), sum(r.bytes)
        from rolled r
        group by r.upstream, r.hour
        order by r.upstream, r.hour
        on conflict (upstream, hour) do update set calls = h.calls + excluded.calls, bytes = h.bytes + excluded.bytes
    )
    select count(*) into v_rows from rolled;
    return v_rows;
end
$$;
comment on function roll_up_usage_v2 is
    'Moves attempts older than two minutes into their hour, so that the budgets stay cheap to read. One unsettled for 15 minutes is rolled up as spent. Returns the number of attempts.';
revoke all on function roll_up_usage_v2 from public;
grant execute on function roll_up_usage_v2 to refreshd_daemon;
