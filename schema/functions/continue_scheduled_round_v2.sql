create or replace function continue_scheduled_round_v2(p_data_type text, p_most_jobs integer)
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_cursor text;
    v_is_global boolean;
    v_symbols text[];
    v_created integer := 0;
begin
    select coalesce(t.schedule_cursor, ''), r.symbol_column is null
    into v_cursor, v_is_global
    from data_type_state_v2 t
    join data_type_registry_v2 r on r.data_type = t.data_type
    where t.data_type = p_data_type and r.refresh_strategy = 'scheduled';
    if v_cursor is null then
        return 0;
    end if;

    loop
        exit when v_created >= p_most_jobs;
        select array_agg(c.symbol order by c.symbol) into v_symbols
        from (
            select a.symbol
            from (
                select s.symbol from supported_symbols s where s.is_active and not v_is_global
                union all
                select 'GLOBAL' where v_is_global
            ) a
            left join refresh_state_v2 s on s.symbol = a.symbol and s.data_type = p_data_type
            where a.symbol > v_cursor
              and (s.next_due_at is null or s.next_due_at <= clock_timestamp())
              and s.open_job_id is null
            order by a.symbol
            limit p_most_jobs - v_created
        ) c;

        if v_symbols is null then
            update data_type_state_v2 t
            set schedule_cursor = null, next_scheduled_at = null
            where t.data_type = p_data_type;
            return v_created;
        end if;

        v_created := v_created + queue_due_symbols_v2(p_data_type, v_symbols);
        v_cursor := v_symbols[cardinality(v_symbols)];
        update data_type_state_v2 t set schedule_cursor = v_cursor where t.data_type = p_data_type;
        update supported_symbols a set last_scheduled_at = now() where a.symbol = any (v_symbols);
    end loop;
    return v_created;
end
$$;
comment on function continue_scheduled_round_v2 is
    'Queues the next symbols of the round of one scheduled type, in the order of symbols from where it stopped, those that are due and have no open job. When the last symbol is reached the round is over, and next_scheduled_at is left for the daemon to compute. Returns the number of new jobs.';
revoke all on function continue_scheduled_round_v2 from public;
grant execute on function continue_scheduled_round_v2 to refreshd_daemon;
