-- The database's part of the old system: its jobs ask for a run, and a function at the edge does the work and stores rows.

create schema old_system;
create table old_system.runs (
    id bigint generated always as identity primary key,
    data_type text not null,
    asked_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    calls integer
);

create function old_system.refresh(p_data_type text) returns void language sql as $$
    insert into old_system.runs (data_type) values (p_data_type);
    select pg_notify('old_system', p_data_type);
$$;

create function old_system.stale(p_table text, p_stamp text, p_symbol text, p_ttl_minutes integer, p_most integer)
returns setof text language plpgsql as $$
begin
    if p_symbol is null then
        return query execute format(
            'select ''GLOBAL''::text from (select max(%1$I) as stamp from public.%2$I) t
             where t.stamp is null or t.stamp < now() - make_interval(mins => $1)', p_stamp, p_table
        ) using p_ttl_minutes;
        return;
    end if;
    return query execute format(
        'select s.symbol
         from supported_symbols s
         left join (select %1$I as symbol, max(%2$I) as stamp from public.%3$I group by 1) t on t.symbol = s.symbol
         where s.is_active and (t.stamp is null or t.stamp < now() - make_interval(mins => $1))
         order by t.stamp nulls first, s.symbol
         limit $2', p_symbol, p_stamp, p_table
    ) using p_ttl_minutes, p_most;
end
$$;

create function old_system.store(p_table text, p_keys text[], p_stamp text, p_rows jsonb)
returns void language plpgsql as $$
declare
    v_columns text;
    v_updates text;
begin
    select string_agg(format('%I', a.attname), ', '),
           string_agg(format('%1$I = excluded.%1$I', a.attname), ', ') filter (where a.attname <> all (p_keys))
    into v_columns, v_updates
    from pg_attribute a
    where a.attrelid = to_regclass(format('public.%I', p_table)) and a.attnum > 0 and not a.attisdropped
      and a.attgenerated = ''
      and (a.attname = p_stamp or a.attname in (select jsonb_object_keys(r) from jsonb_array_elements(p_rows) r));
    execute format(
        'insert into public.%1$I as t (%2$s)
         select %2$s from (
             select distinct on (%3$s) * from jsonb_populate_recordset(null::public.%1$I, $1)
         ) r
         on conflict (%3$s) do update set %4$s',
        p_table, v_columns, (select string_agg(format('%I', k), ', ') from unnest(p_keys) k), v_updates
    ) using (select jsonb_agg(r || jsonb_build_object(p_stamp, clock_timestamp())) from jsonb_array_elements(p_rows) r);
end
$$;
