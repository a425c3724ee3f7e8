create or replace function seed_refresh_state_v2(p_symbols text[], p_data_types text[])
returns void
language plpgsql
volatile
set search_path = public, pg_temp
set timezone = 'UTC'
set jit = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_type record;
begin
    for v_type in
        select r as known, array_agg(distinct i.symbol order by i.symbol) as symbols
        from unnest(p_symbols, p_data_types) as i (symbol, data_type)
        join data_type_registry_v2 r on r.data_type = i.data_type
        where not exists (
            select from refresh_state_v2 s where s.symbol = i.symbol and s.data_type = i.data_type
        )
        group by r.data_type
        order by r.data_type
    loop
        begin
            execute format(
                'insert into refresh_state_v2 (symbol, data_type, last_success_at, fresh_until, next_due_at, source_timestamp)
                 select d.symbol, $2, d.fetched_at,
                        d.fetched_at + make_interval(mins => $3),
                        case when %1$I(d.fetched_at, $3) then now() else d.fetched_at + make_interval(mins => $3) end,
                        d.source_timestamp
                 from (%2$s) d
                 order by 1
                 on conflict do nothing',
                (v_type.known).staleness_function, known_rows_v2(v_type.known, true)
            ) using v_type.symbols, (v_type.known).data_type, (v_type.known).default_ttl_minutes;
        exception
            when others then
                if sqlstate ~ '^(40|53|55P03|57|58|XX)' then
                    raise; -- the server's trouble, not the row's
                end if;
                raise warning 'registry row % cannot be read, its pairs count as stale: %', (v_type.known).data_type, sqlerrm;
        end;
    end loop;
end
$$;
comment on function seed_refresh_state_v2 is
    'Gives pairs without a state row one from the timestamp of the data table, so that data which an older system fetched is not fetched again. A broken registry row is logged and its pairs count as stale.';
revoke all on function seed_refresh_state_v2 from public;
grant execute on function seed_refresh_state_v2 to refreshd_daemon;
