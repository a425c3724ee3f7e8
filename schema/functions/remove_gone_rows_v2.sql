create or replace function remove_gone_rows_v2(p_data_type text, p_rows jsonb, p_columns text[])
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_type data_type_registry_v2 := registered_type_v2(p_data_type);
    v_removed integer;
begin
    if not coalesce(p_columns <@ v_type.key_columns, false)
       or (v_type.symbol_column is not null and v_type.symbol_column <> all (p_columns))
    then
        raise exception 'p_columns for % must be key columns of %, its symbol among them', p_data_type, v_type.key_columns
            using errcode = 'invalid_parameter_value';
    end if;

    begin
        execute format(
            'with input as (select * from jsonb_populate_recordset(null::public.%1$I, $1))
             delete from public.%1$I t
             where exists (select from input i where %2$s)
               and not exists (select from input i where %3$s)',
            v_type.table_name,
            coalesce(
                (select string_agg(format('i.%1$I = t.%1$I', k), ' and ')
                 from unnest(v_type.key_columns) k where k = any (p_columns)),
                'true'
            ),
            (select string_agg(format('i.%1$I = t.%1$I', k), ' and ') from unnest(v_type.key_columns) k)
        ) using p_rows;
        get diagnostics v_removed = row_count;
    exception
        when data_exception then
            raise exception 'p_rows does not fit table %: %', v_type.table_name, sqlerrm
                using errcode = 'invalid_parameter_value';
    end;
    return v_removed;
end
$$;
comment on function remove_gone_rows_v2 is
    'Removes data rows that the upstream no longer has: those that agree with one of p_rows, all of its answer, in p_columns of the key, and whose key is none of theirs. No rows, nothing removed. Returns how many.';
revoke all on function remove_gone_rows_v2 from public;
grant execute on function remove_gone_rows_v2 to refreshd_daemon;
