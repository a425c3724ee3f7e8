create or replace function get_due_times_v2(p_symbols text[], p_data_types text[])
returns table (symbol text, data_type text, due_in_seconds double precision, has_open_job boolean)
language sql
stable
set search_path = public, pg_temp
set jit = off
set enable_seqscan = off
as $$
    select
        s.symbol,
        s.data_type,
        coalesce(extract(epoch from s.next_due_at - clock_timestamp())::double precision, 0),
        s.open_job_id is not null
    from unnest(p_symbols, p_data_types) as i (symbol, data_type)
    join refresh_state_v2 s on s.symbol = i.symbol and s.data_type = i.data_type
$$;
comment on function get_due_times_v2 is 'In how many seconds pairs are due, by the clock of the database; 0 or less is due now. Pairs without a state row are left out.';
revoke all on function get_due_times_v2 from public;
grant execute on function get_due_times_v2 to refreshd_daemon;
