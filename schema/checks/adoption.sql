-- What is wrong with tables of an older system, $1, that have the names of data tables. The runner asks this where the
-- tables that refreshd would create, and its registry, lie in pg_temp. A row with a remedy is a problem, one without a note.

with registered as (
    select r.table_name, r.key_columns, r.symbol_column, r.timestamp_column, r.source_timestamp_column
    from pg_temp.data_type_registry_v2 r
    where r.table_name = any ($1::text[])
),
named as (
    select n.name, t.oid as theirs, o.oid as ours, t.relkind, t.relrowsecurity, t.relowner,
           format('public.%I', n.name) as path
    from unnest($1::text[]) as n (name)
    join pg_class t on t.relnamespace = 'public'::regnamespace and t.relname = n.name
    join pg_class o on o.relnamespace = pg_my_temp_schema() and o.relname = n.name
),
adopted as (
    select * from named where relkind in ('r', 'p')
),
keys as (
    select r.table_name as name, r.key_columns as columns from registered r
    union
    select a.name, array(
        select c.attname::text
        from pg_index i join pg_attribute c on c.attrelid = i.indrelid and c.attnum = any (i.indkey::int2[])
        where i.indrelid = a.ours and i.indisprimary
        order by c.attnum
    )
    from adopted a
    where a.name not in (select r.table_name from registered r)
),
needed as (
    select n.name, n.column_name, bool_or(n.is_time) as is_time
    from (
        select k.name, unnest(k.columns) as column_name, false as is_time from keys k
        union all
        select r.table_name, r.symbol_column, false from registered r where r.symbol_column is not null
        union all
        select r.table_name, r.timestamp_column, true from registered r
        union all
        select r.table_name, r.source_timestamp_column, true from registered r where r.source_timestamp_column is not null
    ) n
    group by n.name, n.column_name
),
their_columns as (
    select a.name, a.path, c.attname::text as column_name, c.attnum, c.atttypid, c.attnotnull,
           c.attgenerated <> '' as generated,
           c.atthasdef or c.attidentity <> '' as fills_itself,
           format_type(c.atttypid, c.atttypmod) as type_name,
           t.typcategory as family,
           exists (
               select from pg_index i
               where i.indrelid = a.theirs and i.indisprimary and c.attnum = any (i.indkey::int2[])
           ) as in_primary_key
    from adopted a
    join pg_attribute c on c.attrelid = a.theirs and c.attnum > 0 and not c.attisdropped
    join pg_type t on t.oid = c.atttypid
),
our_columns as (
    select a.name, c.attname::text as column_name, c.attnum, c.attnotnull,
           format_type(c.atttypid, c.atttypmod) as type_name,
           t.typcategory as family,
           ' default ' || pg_get_expr(d.adbin, d.adrelid) as own_default
    from adopted a
    join pg_attribute c on c.attrelid = a.ours and c.attnum > 0 and not c.attisdropped
    join pg_type t on t.oid = c.atttypid
    left join pg_attrdef d on d.adrelid = c.attrelid and d.adnum = c.attnum
),
findings as (
    select n.name, 1 as place, '' as detail,
           format('%s is a %s, no table', n.path, k.kind) as finding,
           format('alter %s %s rename to %I;', k.kind, n.path, left(n.name, 55) || '_old') as remedy
    from named n
    join (values ('v', 'view'), ('m', 'materialized view'), ('f', 'foreign table'), ('S', 'sequence'), ('i', 'index'),
                 ('I', 'index'), ('c', 'type')) as k (relkind, kind) on k.relkind = n.relkind::text

    union all
    select a.name, 2, '',
           format('%s belongs to %I, for whom %I may not act', a.path, r.rolname, current_user),
           format('alter table %s owner to %I;', a.path, current_user)
    from adopted a
    join pg_roles r on r.oid = a.relowner
    where not pg_has_role(a.relowner, 'usage')

    union all
    select a.name, 3, n.column_name,
           format('%s has no column %I', a.path, n.column_name),
           format('alter table %s add column %I %s%s;', a.path, n.column_name,
                  coalesce(o.type_name, case when n.is_time then 'timestamp with time zone' else 'text' end),
                  o.own_default)
    from adopted a
    join needed n using (name)
    left join our_columns o using (name, column_name)
    where not exists (select from their_columns t where t.name = n.name and t.column_name = n.column_name)

    union all
    select t.name, 4, t.column_name,
           format('column %I of %s is generated: refreshd could not write it', t.column_name, t.path),
           format('alter table %s alter column %I drop expression;', t.path, t.column_name)
    from their_columns t
    join needed n using (name, column_name)
    where t.generated

    union all
    select t.name, 5, t.column_name,
           format('column %I of %s is %s, and must be %s', t.column_name, t.path, t.type_name, w.type_name),
           format('alter table %s alter column %I type %s using %I::text%s;', t.path, t.column_name, w.type_name,
                  t.column_name, '::' || nullif(w.type_name, 'text'))
    from their_columns t
    join needed n using (name, column_name)
    left join our_columns o using (name, column_name)
    cross join lateral (
        select case when n.is_time then 'timestamp with time zone' else o.type_name end as type_name
    ) w
    where case when n.is_time then t.atttypid not in ('timestamptz'::regtype, 'timestamp'::regtype)
               else t.family <> o.family end

    union all
    select a.name, 6, k.list,
           format('%s has no unique index on exactly (%s), not partial and not deferrable', a.path, k.list),
           format('create unique index on %s (%s);', a.path, k.list)
    from adopted a
    join (
        select keys.name, keys.columns, (select string_agg(format('%I', c), ', ') from unnest(keys.columns) c) as list
        from keys
    ) k using (name)
    where not public.has_unique_key_v2(a.theirs, k.columns)

    union all
    select t.name, 7, t.column_name,
           format('column %I of %s must not be NULL and has no default, and refreshd does not write it',
                  t.column_name, t.path),
           format('alter table %s alter column %I %s;', t.path, t.column_name,
                  case when not t.in_primary_key then 'drop not null'
                       when t.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
                           then 'add generated by default as identity'
                       else format('set default gen_random_uuid()::text::%s', t.type_name) end)
           || case when t.in_primary_key and t.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
                   then format(' select setval(pg_get_serial_sequence(%L, %L), coalesce(max(%I), 0) + 1) from %s;',
                               t.path, t.column_name, t.column_name, t.path)
                   else '' end
    from their_columns t
    where t.attnotnull and not t.fills_itself and not t.generated
      and not exists (select from our_columns o where o.name = t.name and o.column_name = t.column_name)
      and not exists (select from needed n where n.name = t.name and n.column_name = t.column_name)

    union all
    select a.name, 8, '',
           format('%s has row level security, and no policy lets refreshd_daemon read and write', a.path),
           format('create policy refreshd_daemon on %s to refreshd_daemon using (true) with check (true);', a.path)
    from adopted a
    where a.relrowsecurity
      and exists (
          select from unnest(array['r', 'a', 'w']) as v (verb)
          where not exists (
              select from pg_policy p
              where p.polrelid = a.theirs and p.polpermissive and p.polcmd::text in ('*', v.verb)
                and ((p.polroles = '{0}'
                      and coalesce(pg_get_expr(p.polqual, p.polrelid), 'true') = 'true'
                      and coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true')
                     or exists (
                         select from unnest(p.polroles) as r (role)
                         where r.role <> 0 and pg_has_role('refreshd_daemon', r.role, 'member')
                     ))
          )
      )

    union all
    select o.name, 9, '',
           format('%s lacks columns, whose values will not be stored: %s', a.path,
                  string_agg(format('%I', o.column_name), ', ' order by o.attnum)),
           null
    from our_columns o
    join adopted a using (name)
    where not exists (select from their_columns t where t.name = o.name and t.column_name = o.column_name)
      and not exists (select from needed n where n.name = o.name and n.column_name = o.column_name)
    group by o.name, a.path

    union all
    select t.name, 10, '',
           format('%s has columns of other types, and a value that one does not take fails its job: %s', t.path,
                  string_agg(format('%I %s (refreshd''s own: %s)', t.column_name, t.type_name, o.type_name), ', '
                             order by t.attnum)),
           null
    from their_columns t
    join our_columns o using (name, column_name)
    where t.type_name <> o.type_name
      and not exists (select from needed n where n.name = t.name and n.column_name = t.column_name)
    group by t.name, t.path

    union all
    select t.name, 11, '',
           format('%s has columns that must not be NULL, and a row without a value for one fails its job: %s', t.path,
                  string_agg(format('%I', t.column_name), ', ' order by t.attnum)),
           null
    from their_columns t
    join our_columns o using (name, column_name)
    where t.attnotnull and not o.attnotnull
      and not exists (select from needed n where n.name = t.name and n.column_name = t.column_name)
    group by t.name, t.path
)
select f.finding, f.remedy
from findings f
order by f.name, f.place, f.detail
