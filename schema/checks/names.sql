-- What is renamed when the suffix goes, in the order in which it is done, and what is in the way. Asked and carried out by
-- `refreshd migration finalize`. Each row: what it is, its name before and after, the statement, and where something is in
-- the way, what, and what would set it aside.

with relations as (
    select c.oid, c.relkind, c.relname::text as name
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v') and c.relname = any ('{own_relations}')
),
named as (
    select case when r.relkind = 'v' then 'view' else 'table' end as kind, r.name, null::text as on_table
    from relations r
    union all
    select 'constraint', k.conname::text, r.name
    from relations r
    join pg_constraint k on k.conrelid = r.oid
    where k.contype in ('p', 'u', 'x') or k.contype <> 'n' and k.conparentid = 0 and k.coninhcount = 0
    union all
    select 'index', i.relname::text, r.name
    from relations r
    join pg_index x on x.indrelid = r.oid
    join pg_class i on i.oid = x.indexrelid
    where not exists (select from pg_constraint k where k.conindid = x.indexrelid and k.contype in ('p', 'u', 'x'))
    union all
    select 'sequence', s.relname::text, r.name
    from relations r
    join pg_depend d on d.refobjid = r.oid and d.deptype = 'i' and d.classid = 'pg_class'::regclass
    join pg_class s on s.oid = d.objid and s.relkind = 'S'
    union all
    select 'function', p.oid::regprocedure::text, null
    from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname = any ('{own_functions}')
),
renamed as (
    select
        n.*,
        case when n.kind = 'function' then split_part(n.name, '(', 1) else n.name end as before,
        regexp_replace(
            case when n.kind = 'function' then split_part(n.name, '(', 1) else n.name end,
            '([A-Za-z0-9])' || '_' || 'v2' || '(?![A-Za-z0-9])', '\1', 'g') as after
    from named n
),
statements as (
    select
        r.kind,
        r.before,
        r.after,
        case r.kind
            when 'constraint' then format('alter table public.%I rename constraint %I to %I', r.on_table, r.before, r.after)
            when 'function' then format('alter function %s rename to %I', r.name, r.after)
            else format('alter %s public.%I rename to %I', r.kind, r.before, r.after)
        end as statement,
        case r.kind when 'function' then 2 when 'constraint' then 3 else 4 end as place,
        r.on_table,
        t.problem,
        t.remedy
    from renamed r
    left join lateral (
        select
            format('%s public.%I', t.kind, r.after) as problem,
            format('alter %s public.%I rename to %I', t.kind, r.after, r.after || '_old') as remedy
        from (
            select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'i' then 'index'
                                  when 'S' then 'sequence' else 'table' end as kind
            from pg_class c
            where c.relnamespace = 'public'::regnamespace and c.relname = r.after
        ) t
        where r.kind in ('table', 'view', 'index', 'sequence')
           or r.kind = 'constraint' and exists (
               select from pg_constraint k join pg_class t on t.oid = k.conrelid
               where k.conname = r.before and k.contype in ('p', 'u', 'x') and t.relname = r.on_table
           )
        union all
        select
            format('function %s', p.oid::regprocedure),
            format('alter function %s rename to %I', p.oid::regprocedure, r.after || '_old')
        from pg_proc p
        where r.kind = 'function' and p.pronamespace = 'public'::regnamespace and p.proname = r.after
    ) t on true
    where r.after <> r.before
    union all
    -- All locks at once and in one order: what comes after them waits for nobody.
    select 'lock', '', '', format('lock table %s in access exclusive mode',
        string_agg(format('public.%I', r.name), ', ' order by r.name)), 0, null, null, null
    from relations r
    where r.relkind in ('r', 'p')
    union all
    select 'comment', '', '',
        case when d.objsubid = 0
             then format('comment on %s public.%I is %L', case r.relkind when 'v' then 'view' else 'table' end, r.name, x.text)
             else format('comment on column public.%I.%I is %L', r.name, a.attname, x.text) end,
        1, r.name, null, null
    from relations r
    join pg_description d on d.classoid = 'pg_class'::regclass and d.objoid = r.oid
    left join pg_attribute a on a.attrelid = r.oid and a.attnum = d.objsubid and d.objsubid > 0
    cross join lateral (
        select regexp_replace(d.description, '([A-Za-z0-9])' || '_' || 'v2' || '(?![A-Za-z0-9])', '\1', 'g') as text
    ) x
    where x.text <> d.description
)
select s.kind, s.before, s.after, s.statement, s.problem, s.remedy
from statements s
order by s.place, s.kind, s.before, s.on_table, s.statement;
