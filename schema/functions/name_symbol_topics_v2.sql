create or replace function name_symbol_topics_v2(p_symbols text[])
returns setof text
language sql
volatile
set search_path = public, pg_temp
as $$
    insert into symbol_topics_v2 as t (topic)
    select 'symbol:' || s.symbol
    from supported_symbols s
    where s.is_active and s.symbol = any (p_symbols) and s.symbol ~ '^[A-Z0-9^][A-Z0-9.^=-]{0,19}$'
    order by s.symbol
    on conflict (topic) do update set named_at = now()
    returning t.topic
$$;
comment on function name_symbol_topics_v2 is
    'Asks the listeners to join the topics of these symbols, as far as they are in the allow-list; to be repeated every 10 minutes while a page shows them. Returns the topics.';
revoke all on function name_symbol_topics_v2 from public;
grant execute on function name_symbol_topics_v2 to refreshd_daemon;
