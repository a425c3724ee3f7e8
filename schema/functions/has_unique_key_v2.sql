create or replace function has_unique_key_v2(p_table regclass, p_columns text[])
returns boolean
language sql
stable
set search_path = public, pg_temp
as $$
    select exists (
        select from pg_index i
        where i.indrelid = p_table
          and i.indisunique and i.indisvalid and i.indimmediate
          and i.indpred is null and i.indexprs is null
          and i.indnkeyatts = cardinality(p_columns)
          and array(
                  select a.attname::text
                  from pg_attribute a
                  where a.attrelid = p_table and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1])
                  order by 1
              ) = array(select c from unnest(p_columns) as c order by 1)
    )
$$;
comment on function has_unique_key_v2 is 'Whether rows of a table can be upserted on exactly these columns: a unique index, not partial, not deferrable.';
revoke all on function has_unique_key_v2 from public;
grant execute on function has_unique_key_v2 to refreshd_daemon;
