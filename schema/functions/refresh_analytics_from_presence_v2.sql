create or replace function refresh_analytics_from_presence_v2(p_source text, p_joined jsonb, p_left jsonb)
returns void
language plpgsql
volatile
set search_path = public, pg_temp
as $$
begin
    if p_source is null or p_source = '' or octet_length(p_source) > 300 then
        raise exception 'a change of presence needs its source: p_source of 1 to 300 bytes' using errcode = 'invalid_parameter_value';
    end if;

    delete from active_subscriptions_v2 a
    using jsonb_to_recordset(coalesce(p_left, '[]')) as l (user_id text, symbol text, data_type text)
    where a.symbol = l.symbol and a.data_type = l.data_type and a.user_id = l.user_id and a.source = p_source;

    insert into active_subscriptions_v2 (user_id, symbol, data_type, source)
    select distinct j.user_id, j.symbol, j.data_type, p_source
    from jsonb_to_recordset(coalesce(p_joined, '[]')) as j (user_id text, symbol text, data_type text)
    where j.user_id is not null and octet_length(j.symbol) <= 100 and octet_length(j.data_type) <= 100
    order by j.symbol, j.data_type, j.user_id
    on conflict (symbol, data_type, user_id, source) do update set last_seen_at = now();
end
$$;
comment on function refresh_analytics_from_presence_v2 is
    'Applies a batch of changes of one source to the aggregate: arrays of {user_id, symbol, data_type}. An empty or missing batch changes nothing.';
revoke all on function refresh_analytics_from_presence_v2 from public;
grant execute on function refresh_analytics_from_presence_v2 to refreshd_daemon;
