create or replace function registered_type_v2(p_data_type text)
returns data_type_registry_v2
language plpgsql
stable
set search_path = public, pg_temp
as $$
declare
    v_type data_type_registry_v2;
begin
    select * into v_type from data_type_registry_v2 r where r.data_type = p_data_type;
    if v_type.data_type is null then
        raise exception 'unknown data type %', coalesce(p_data_type, 'NULL') using errcode = 'invalid_parameter_value';
    end if;
    return v_type;
end
$$;
comment on function registered_type_v2 is 'The row of the registry; a type that has none is an error.';
revoke all on function registered_type_v2 from public;
grant execute on function registered_type_v2 to refreshd_daemon;
