create or replace function queue_due_symbols_v2(p_data_type text, p_symbols text[])
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_symbols text[];
begin
    if coalesce(cardinality(p_symbols), 0) = 0 then
        return 0;
    end if;
    perform seed_refresh_state_v2(p_symbols, array_fill(p_data_type, array[cardinality(p_symbols)]));

    select array_agg(i.symbol) into v_symbols
    from unnest(p_symbols) as i (symbol)
    left join refresh_state_v2 s on s.symbol = i.symbol and s.data_type = p_data_type
    where s.next_due_at is null or s.next_due_at <= clock_timestamp();
    if v_symbols is null then
        return 0;
    end if;
    return (
        select count(*) filter (where q.created)
        from open_jobs_v2(
            v_symbols,
            array_fill(p_data_type, array[cardinality(v_symbols)]),
            array_fill(-1, array[cardinality(v_symbols)])
        ) q
    );
end
$$;
comment on function queue_due_symbols_v2 is
    'Queues scheduled work: those of the symbols that are due for a type, with priority -1 whatever the registry says. Returns the number of new jobs.';
revoke all on function queue_due_symbols_v2 from public;
grant execute on function queue_due_symbols_v2 to refreshd_daemon;
