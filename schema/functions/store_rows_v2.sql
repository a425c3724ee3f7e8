create or replace function store_rows_v2(p_data_type text, p_rows jsonb)
returns table (inserted integer, updated integer, unchanged integer)
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_type data_type_registry_v2 := registered_type_v2(p_data_type);
    v_columns text[];
    v_values text[];
begin
    select array_agg(a.attname order by a.attnum) into v_columns
    from pg_attribute a
    where a.attrelid = to_regclass(format('public.%I', v_type.table_name))
      and a.attnum > 0
      and not a.attisdropped
      and a.attgenerated = ''
      and a.attname <> v_type.timestamp_column
      and a.attname in (select k from jsonb_array_elements(p_rows) as r (o), jsonb_object_keys(r.o) as k);
    if not v_type.key_columns <@ coalesce(v_columns, '{}') then
        raise exception 'rows for % must carry the key columns %, and table % must have them',
            p_data_type, v_type.key_columns, v_type.table_name using errcode = 'invalid_parameter_value';
    end if;
    v_values := array(select c from unnest(v_columns) c where c <> all (v_type.key_columns));

    begin
        return query execute format(
            'with input as (
                 select distinct on (%1$s) %2$s
                 from jsonb_populate_recordset(null::public.%3$I, $1) with ordinality as i
                 order by %1$s, i.ordinality desc
             ),
             stored as (
                 insert into public.%3$I as t (%2$s, %4$I)
                 select %2$s, clock_timestamp() from input
                 on conflict (%1$s) do %5$s
                 returning (t.xmax = 0) as is_new
             )
             select count(*) filter (where is_new)::integer,
                    count(*) filter (where not is_new)::integer,
                    ((select count(*) from input) - count(*))::integer
             from stored',
            (select string_agg(format('%I', k), ', ') from unnest(v_type.key_columns) k),
            (select string_agg(format('%I', c), ', ') from unnest(v_columns) c),
            v_type.table_name,
            v_type.timestamp_column,
            case when v_values = '{}' then 'nothing' else format(
                'update set (%1$s, %4$I) = row(%2$s, excluded.%4$I) where row(%3$s) is distinct from row(%2$s)',
                (select string_agg(format('%I', c), ', ') from unnest(v_values) c),
                (select string_agg(format('excluded.%I', c), ', ') from unnest(v_values) c),
                (select string_agg(format('t.%I', c), ', ') from unnest(v_values) c),
                v_type.timestamp_column
            ) end
        ) using p_rows;
    exception
        when data_exception then
            raise exception 'p_rows does not fit table %: %', v_type.table_name, sqlerrm
                using errcode = 'invalid_parameter_value';
    end;
end
$$;
comment on function store_rows_v2 is
    'The one way data rows are written: keys of the rows intersected with the non-generated columns of the type''s table, upserted on key_columns, the last of duplicates winning, unchanged rows untouched (compared without the timestamp column).';
revoke all on function store_rows_v2 from public;
grant execute on function store_rows_v2 to refreshd_daemon;
