create or replace function admit_symbol_v2(p_symbol text, p_exchange text)
returns boolean
language sql
volatile
set search_path = public, pg_temp
as $$
    with admitted as (
        insert into supported_symbols as s (symbol, exchange)
        select p_symbol, left(p_exchange, 40)
        where p_symbol ~ '^[A-Z0-9^][A-Z0-9.^=-]{0,19}$'
        on conflict (symbol) do nothing
        returning 1
    )
    select exists (select from admitted)
$$;
comment on function admit_symbol_v2 is
    'Takes a symbol that was verified upstream into the allow-list; one that the operator has deactivated stays so. Returns whether it was new.';
revoke all on function admit_symbol_v2 from public;
grant execute on function admit_symbol_v2 to refreshd_daemon;
