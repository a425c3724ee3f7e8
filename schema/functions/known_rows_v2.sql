create or replace function known_rows_v2(p_type data_type_registry_v2, p_of_symbols boolean)
returns text
language sql
stable
set search_path = public, pg_temp
as $$
    select format(
        'select %1$s as symbol, least(max(t.%2$I), now()) as fetched_at, max(%3$s) as source_timestamp
         from public.%4$I t
         where t.%2$I is not null and %5$s
         group by 1',
        case when p_type.symbol_column is null then '''GLOBAL''::text' else format('t.%I', p_type.symbol_column) end,
        p_type.timestamp_column,
        case when p_type.source_timestamp_column is null then 'null::timestamptz'
             else format('t.%I', p_type.source_timestamp_column) end,
        p_type.table_name,
        case when p_of_symbols and p_type.symbol_column is not null then format('t.%I = any ($1)', p_type.symbol_column)
             else 'true' end
    )
$$;
comment on function known_rows_v2 is
    'The query for what the data table of a type knows of each symbol: when it was fetched last, and the newest time of its source. With p_of_symbols, of the symbols in $1.';
revoke all on function known_rows_v2 from public;
grant execute on function known_rows_v2 to refreshd_daemon;
