create or replace function touch_symbol_topics_v2(p_topics text[])
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_forgotten integer;
begin
    perform from symbol_topics_v2 t where t.topic = any (p_topics) order by t.topic for update;
    update symbol_topics_v2 t set viewed_at = now() where t.topic = any (p_topics);
    delete from symbol_topics_v2 t
    where t.topic in (
        select o.topic
        from symbol_topics_v2 o
        where greatest(o.named_at, o.viewed_at) < now() - interval '24 hours'
        order by o.topic
        for update skip locked
    );
    get diagnostics v_forgotten = row_count;
    return v_forgotten;
end
$$;
comment on function touch_symbol_topics_v2 is
    'Notes which symbol topics have viewers, and forgets those that nobody asked for or viewed in 24 h. Returns how many it forgot.';
revoke all on function touch_symbol_topics_v2 from public;
grant execute on function touch_symbol_topics_v2 to refreshd_daemon;
