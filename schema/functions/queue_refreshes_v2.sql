create or replace function queue_refreshes_v2(
    p_symbols text[],
    p_data_types text[],
    p_priorities integer[],
    p_gains double precision[] default null
)
returns table (symbol text, data_type text, job_id uuid, created boolean)
language plpgsql
volatile
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    v_answered integer;
    v_wrong text;
begin
    return query select * from open_jobs_v2(p_symbols, p_data_types, p_priorities, p_gains);
    get diagnostics v_answered = row_count;
    if v_answered = cardinality(p_symbols) then
        return;
    end if;

    -- Fewer: duplicates, types whose flags are off, or a mistake, which undoes the whole.
    select string_agg(distinct format('%s/%s', coalesce(i.symbol, 'NULL'), coalesce(i.data_type, 'NULL')), ', ')
    into v_wrong
    from unnest(p_symbols, p_data_types, p_priorities) as i (symbol, data_type, priority)
    left join data_type_registry_v2 r on r.data_type = i.data_type
    left join supported_symbols s on s.symbol = i.symbol and s.is_active
    where r.data_type is null
       or i.symbol is null
       or i.priority is null
       or i.priority < -1
       or (r.symbol_column is null) <> (i.symbol = 'GLOBAL')
       or (r.symbol_column is not null and s.symbol is null);
    if v_wrong is not null then
        raise exception 'cannot queue %: the data type is not in data_type_registry_v2, the symbol is not active in supported_symbols, or the priority is below -1', left(v_wrong, 500)
            using errcode = 'invalid_parameter_value';
    end if;
end
$$;
comment on function queue_refreshes_v2 is
    'open_jobs_v2 for callers who name pairs themselves: unknown types, symbols that are not active and priorities below -1 raise.';
revoke all on function queue_refreshes_v2 from public;
grant execute on function queue_refreshes_v2 to refreshd_daemon;
