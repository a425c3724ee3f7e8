create or replace function check_registry_row_v2()
returns trigger
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_table regclass := to_regclass(format('public.%I', new.table_name));
    v_column text;
    v_wrong text[] := array[]::text[];
begin
    -- A seed of a row that is there already inserts nothing, whatever has become of the tables since.
    if tg_op = 'INSERT' and exists (select from data_type_registry_v2 r where r.data_type = new.data_type) then
        return new;
    end if;
    if v_table is null or (select c.relkind not in ('r', 'p') from pg_class c where c.oid = v_table) then
        v_wrong := v_wrong || format('there is no table public.%I', new.table_name);
    else
        foreach v_column in array array_remove(
            new.key_columns || array[new.timestamp_column, new.symbol_column, new.source_timestamp_column], null)
        loop
            if not exists (
                select from pg_attribute a
                where a.attrelid = v_table and a.attname = v_column and a.attnum > 0 and not a.attisdropped
            ) then
                v_wrong := v_wrong || format('table %I has no column %I', new.table_name, v_column);
            end if;
        end loop;
        foreach v_column in array array_remove(array[new.timestamp_column, new.source_timestamp_column], null) loop
            if exists (
                select from pg_attribute a
                where a.attrelid = v_table and a.attname = v_column
                  and a.atttypid not in ('timestamptz'::regtype, 'timestamp'::regtype)
            ) then
                v_wrong := v_wrong || format('column %I of table %I is no timestamp', v_column, new.table_name);
            end if;
        end loop;
        if not has_unique_key_v2(v_table, new.key_columns) then
            v_wrong := v_wrong || format('table %I has no unique index on exactly (%s)',
                new.table_name, array_to_string(new.key_columns, ', '));
        end if;
    end if;
    if to_regprocedure(format('public.%I(timestamptz, integer)', new.staleness_function)) is null then
        v_wrong := v_wrong || format('there is no function public.%I(timestamptz, integer)', new.staleness_function);
    end if;
    if not exists (select from upstreams_v2 u where u.upstream = new.upstream) then
        v_wrong := v_wrong || format('upstream %L is not in upstreams_v2', new.upstream);
    end if;
    if new.refresh_schedule !~ '^\s*[0-9A-Za-z*/,#-]+(\s+[0-9A-Za-z*/,#-]+){4}\s*$' then
        v_wrong := v_wrong || format('%L is no cron expression of five fields', new.refresh_schedule);
    end if;
    if v_wrong <> '{}' then
        raise exception 'data type % cannot be registered so: %', new.data_type, array_to_string(v_wrong, '; ')
            using errcode = 'invalid_parameter_value';
    end if;
    new.updated_at := clock_timestamp();
    return new;
end
$$;
comment on function check_registry_row_v2 is
    'Refuses a row of the registry whose table, columns, unique key, staleness function, upstream or schedule do not exist, and says everything that is wrong with it.';
revoke all on function check_registry_row_v2 from public;
grant execute on function check_registry_row_v2 to refreshd_daemon;
