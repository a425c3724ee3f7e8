create or replace function touch_subscriptions_v2(p_source text, p_since timestamptz)
returns integer
language plpgsql
volatile
set search_path = public, pg_temp
as $$
declare
    v_touched integer;
begin
    update active_subscriptions_v2 a
    set last_seen_at = now()
    where a.source = p_source and a.last_seen_at >= p_since and a.last_seen_at < now() - interval '30 seconds';
    get diagnostics v_touched = row_count;
    return v_touched;
end
$$;
comment on function touch_subscriptions_v2 is
    'Vouches for the rows of a live source that this life of the daemon has written (p_since); older ones are left to expire.';
revoke all on function touch_subscriptions_v2 from public;
grant execute on function touch_subscriptions_v2 to refreshd_daemon;
