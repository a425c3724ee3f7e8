create or replace function check_and_queue_stale_batch_v2(p_symbol text, p_data_types text[], p_priority integer)
returns integer
language sql
volatile
set search_path = public, pg_temp
as $$
    select check_and_queue_stale_pairs_v2(
        array_agg(case when r.symbol_column is null and r.data_type is not null then 'GLOBAL' else p_symbol end),
        array_agg(t.data_type),
        array_agg(greatest(p_priority, 0)),
        null
    )
    from unnest(p_data_types) as t (data_type)
    left join data_type_registry_v2 r on r.data_type = t.data_type
$$;
comment on function check_and_queue_stale_batch_v2 is 'check_and_queue_stale_pairs_v2 for several data types of one symbol.';
revoke all on function check_and_queue_stale_batch_v2 from public;
grant execute on function check_and_queue_stale_batch_v2 to refreshd_daemon;
