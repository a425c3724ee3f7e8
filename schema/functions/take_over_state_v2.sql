create or replace function take_over_state_v2(p_data_type text)
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
set timezone = 'UTC'
as $$
declare
    v_type data_type_registry_v2 := registered_type_v2(p_data_type);
    v_symbols integer;
begin
    -- A state from before is older than what the old system has fetched since: its ETag and its failures say nothing now.
    execute format(
        'with known as (%1$s),
         stated as (
             insert into refresh_state_v2 as s (
                 symbol, data_type, last_success_at, last_checked_at, fresh_until, next_due_at, source_timestamp
             )
             select d.symbol, $1, d.fetched_at, d.fetched_at, d.fetched_at + make_interval(mins => $2),
                    case when %2$I(d.fetched_at, $2) then now() else d.fetched_at + make_interval(mins => $2) end,
                    d.source_timestamp
             from known d
             where d.symbol is not null
             order by 1
             on conflict (symbol, data_type) do update
             set last_success_at = excluded.last_success_at, last_checked_at = excluded.last_checked_at,
                 fresh_until = excluded.fresh_until, next_due_at = excluded.next_due_at,
                 source_timestamp = excluded.source_timestamp,
                 last_outcome = null, consecutive_failures = 0, etag = null
             where excluded.last_success_at > coalesce(s.last_success_at, ''-infinity'')
         )
         select count(*) from known',
        known_rows_v2(v_type, false), v_type.staleness_function
    ) into v_symbols using v_type.data_type, v_type.default_ttl_minutes;
    perform
    from refresh_state_v2 s
    where s.data_type = p_data_type and s.last_outcome = 'failed'
    order by s.symbol, s.data_type
    for update;
    update refresh_state_v2 s
    set last_outcome = null, consecutive_failures = 0, next_due_at = now()
    where s.data_type = p_data_type and s.last_outcome = 'failed';
    return v_symbols;
end
$$;
comment on function take_over_state_v2 is
    'Gives every symbol of a data table its state from the table''s timestamps, also where an older state is known: what the old system has fetched is fresh, and nothing is fetched twice. What failed before is tried afresh. Returns the number of symbols in the table.';
revoke all on function take_over_state_v2 from public;
