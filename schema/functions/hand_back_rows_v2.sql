create or replace function hand_back_rows_v2(p_data_type text)
returns bigint
language plpgsql
volatile
set search_path = public, pg_temp
set timezone = 'UTC'
as $$
declare
    v_type data_type_registry_v2 := registered_type_v2(p_data_type);
    v_rows bigint;
begin
    execute format(
        'update public.%1$I t
         set %2$I = s.last_success_at
         from refresh_state_v2 s
         where s.data_type = $1 and s.symbol = %3$s
           and (t.%2$I is null or t.%2$I < s.last_success_at)',
        v_type.table_name, v_type.timestamp_column,
        case when v_type.symbol_column is null then '''GLOBAL''' else format('t.%I', v_type.symbol_column) end
    ) using v_type.data_type;
    get diagnostics v_rows = row_count;
    return v_rows;
end
$$;
comment on function hand_back_rows_v2 is
    'Stamps the rows of a data table with when they were last found right: an answer that changed nothing leaves rows untouched, and an older system would fetch them again. Returns the number of rows.';
revoke all on function hand_back_rows_v2 from public;
