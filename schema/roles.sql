-- What a Supabase project has and a plain PostgreSQL lacks. Applied by `refreshd migrate --create-roles` alone.

do $$
declare
    v_role text;
begin
    foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
        if not exists (select from pg_roles where rolname = v_role) then
            execute format('create role %I nologin', v_role);
            -- As on Supabase; only a superuser can give it on every version.
            if v_role = 'service_role' and (select rolsuper from pg_roles where rolname = current_user) then
                alter role service_role bypassrls;
            end if;
        end if;
    end loop;
    if not exists (select from pg_publication where pubname = 'supabase_realtime') then
        create publication supabase_realtime;
    end if;
end
$$;
