-- Who may read and execute what, applied after every migration. Own objects are closed to the roles of the web; data
-- tables and refresh_status_v2 are open to them for reading. service_role reads everything, changes and executes nothing:
-- whoever wants more grants it refreshd_daemon. Everything is revoked first, because the default privileges of a Supabase
-- project give all of it away. Roles that do not exist are passed over. The names in braces stand for all that the files
-- of this schema create.

do $$
declare
    v_role text;
    v_table text;
    v_own boolean;
    v_function regprocedure;
begin
    for v_function in
        select p.oid::regprocedure
        from pg_proc p
        where p.pronamespace = 'public'::regnamespace
          and p.proname = any ('{own_functions}')
          and pg_has_role(p.proowner, 'member')
    loop
        execute format('revoke all on function %s from public', v_function);
        for v_role in select rolname from pg_roles where rolname in ('anon', 'authenticated', 'service_role') loop
            execute format('revoke all on function %s from %I', v_function, v_role);
        end loop;
    end loop;

    for v_role in select rolname from pg_roles where rolname in ('anon', 'authenticated', 'service_role') loop
        for v_table, v_own in
            select c.oid::regclass::text, c.relkind <> 'S' and d.description is null
            from pg_class c
            left join pg_description d
                on d.objoid = c.oid and d.classoid = 'pg_class'::regclass and d.objsubid = 0
                and d.description like 'Written by refreshd%'
            where c.relnamespace = 'public'::regnamespace
              and c.relkind in ('r', 'p', 'v', 'S')
              and (c.relname = any ('{own_relations}')
                   or c.relkind = 'S' and exists (
                       select from pg_depend o join pg_class t on t.oid = o.refobjid
                       where o.objid = c.oid and o.deptype = 'i' and t.relname = any ('{own_relations}')
                   )
                   or d.description is not null)
        loop
            execute format('revoke all on %s from %I', v_table, v_role);
            if v_role = 'service_role' and v_own then
                execute format('grant select on %s to %I', v_table, v_role);
            end if;
        end loop;
        execute format('grant select on refresh_status_v2 to %I', v_role);
        execute format('grant usage on schema public to %I', v_role);
    end loop;

    grant usage on schema public to refreshd_daemon;

    for v_table in
        select r.table_name
        from data_type_registry_v2 r
        where to_regclass(format('public.%I', r.table_name)) is not null
    loop
        execute format('grant select, insert, update, delete on public.%I to refreshd_daemon', v_table);
        for v_role in select rolname from pg_roles where rolname in ('anon', 'authenticated', 'service_role') loop
            execute format('grant select on public.%I to %I', v_table, v_role);
        end loop;
        if exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables)
           and not exists (
               select from pg_publication_tables
               where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = v_table
           )
           and exists (select from pg_index where indrelid = to_regclass(format('public.%I', v_table)) and indisprimary)
        then
            execute format('alter publication supabase_realtime add table public.%I', v_table);
        end if;
    end loop;
end
$$;
