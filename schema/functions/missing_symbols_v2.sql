create or replace function missing_symbols_v2(p_data_type text)
returns text[]
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_type data_type_registry_v2 := registered_type_v2(p_data_type);
    v_missing text[];
begin
    execute format(
        'select array_agg(s.symbol order by s.symbol)
         from refresh_state_v2 s
         where s.data_type = $1 and s.last_success_at is not null
           and not exists (select from public.%1$I t where %2$s)',
        v_type.table_name,
        case when v_type.symbol_column is null then 'true' else format('t.%I = s.symbol', v_type.symbol_column) end
    ) into v_missing using v_type.data_type;
    return coalesce(v_missing, '{}');
end
$$;
comment on function missing_symbols_v2 is 'Symbols of which the data table of a type had rows once, and has none now.';
revoke all on function missing_symbols_v2 from public;
grant execute on function missing_symbols_v2 to refreshd_daemon;
