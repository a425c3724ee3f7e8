create or replace function measure_type_v2(p_data_type text)
returns table (
    table_rows bigint,
    symbols bigint,
    unlisted_symbols bigint,
    fresh_symbols bigint,
    oldest timestamptz,
    newest timestamptz,
    viewed bigint,
    viewed_fresh bigint,
    jobs_in_24_hours bigint,
    bytes_in_24_hours bigint
)
language plpgsql
volatile
set search_path = public, pg_temp
set timezone = 'UTC'
as $$
declare
    v_type data_type_registry_v2 := registered_type_v2(p_data_type);
begin
    return query execute format(
        'with known as (%1$s),
         judged as (
             select
                 k.symbol,
                 not %2$I(greatest(k.fetched_at, s.last_success_at), $2) or coalesce(s.fresh_until > now(), false) as is_fresh
             from known k
             left join refresh_state_v2 s on s.symbol = k.symbol and s.data_type = $1
         ),
         looked_at as (
             select v.symbol from viewers_v2 v where v.data_type = $1
         ),
         ended as (
             select c.actual_data_size_bytes as bytes
             from api_call_queue_v2_completed c
             where c.data_type = $1 and c.finished_at > now() - interval ''24 hours''
         )
         select
             (select count(*) from public.%3$I),
             (select count(*) from judged),
             (select count(*) from judged j
              where j.symbol <> ''GLOBAL''
                and not exists (select from supported_symbols a where a.symbol = j.symbol and a.is_active)),
             (select count(*) from judged j where j.is_fresh),
             (select min(t.%4$I)::timestamptz from public.%3$I t),
             (select max(t.%4$I)::timestamptz from public.%3$I t),
             (select count(*) from looked_at),
             (select count(*) from looked_at l join judged j on j.symbol = l.symbol where j.is_fresh),
             (select count(*) from ended),
             (select coalesce(sum(e.bytes), 0)::bigint from ended e)',
        known_rows_v2(v_type, false), v_type.staleness_function, v_type.table_name, v_type.timestamp_column
    ) using v_type.data_type, v_type.default_ttl_minutes;
end
$$;
comment on function measure_type_v2 is
    'How a data type is now: rows of its table, symbols, those of them that the allow-list does not have, and how many are within their TTL (by what is known of them in the table or in the state), the same of what is viewed, and the refreshes of the last 24 hours.';
revoke all on function measure_type_v2 from public;
grant execute on function measure_type_v2 to refreshd_daemon;
